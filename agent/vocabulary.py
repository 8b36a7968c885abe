"""Words that a sentence of an explanation may use whatever it cites: grounding takes the others to be its subject."""

from __future__ import annotations

_STOP = """
a about above after all almost also although am an and any are around as at be because been before being below
between both but by can come comes could did do does each either every far few for from further had has have
here how however if in into is it its itself just less lie lies like made make makes may might more most much
must nearly neither no nobody none nor not nothing of off on once one only or other out over own per put quite
rather roughly same say says see seen sees she should since so some such than that the their them then there
these they this those though through to together too towards toward under until up upon very was way well were
what when where which while who whose why will with within without would yet you your
"""
STOP_WORDS = frozenset(_STOP.split())

_REPORTS = """
picture image photo photograph file frame area part region place corner edge side left right top bottom upper
lower centre center middle hand evidence tool check test finding result report explain examination analysis
verdict answer judge judgement score number probability chance odds likely unlikely likelihood likelier
plausible prior interval even given percent decibans deciban time fold pixel generat generation generative
generator model ai synthetic artificial origin camera capture taken edit alter manipulat edited editing real
fake sign trace hint mark indication indicate suggest point speak show find found saw look visible stand typical
unlike differ expect support favour favor contribute add rais lean tip weight balance whole rest remainder
surrounding surround neighbourhood background strong weak strongest stronger slight somewhat moderate certain
proof prove guarantee settle open examined unexamined examine cover remain limit reason conflict against
metadata signature signer signed unsigned claim state trust list forge apply applied small large size least
fewer many lost fine high low higher smaller larger great worse better back tend common carry hold contain store
inside text software according possible possibly maybe absence turn confidence grade graded
"""
GLOSSARY = frozenset(_REPORTS.split())
"""The language of reports: what every tool and every verdict is told with."""
