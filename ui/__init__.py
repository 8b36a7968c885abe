"""The faces (API, chat, command line): each calls only `agent.service.Explainer`."""
