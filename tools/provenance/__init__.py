"""What a file says of its own making, and how far that may be believed.

`credentials` and `manifests` read signed C2PA manifests, `containers` and `fields` take unsigned metadata apart,
`recipes`, `comfy` and `stealth` read what generators leave, `signed` and `unsigned` put it into sentences and claims.
`trust` holds the list of authorities; a worker process puts another one in force with `use_trust_list`.
"""

from tools.provenance.trust import TrustList, load_trust_list, trust_list, use_trust_list

__all__ = ["TrustList", "load_trust_list", "trust_list", "use_trust_list"]
