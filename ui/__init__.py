"""The faces (API, chat, command line): each calls only `agent.service.Explainer`."""


def version() -> str:
    """The version of Exposit that is installed; says so where it runs from a checkout that is not installed."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return installed("exposit")
    except PackageNotFoundError:
        return "0+not.installed"
