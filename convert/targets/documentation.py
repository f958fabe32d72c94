"""Print the tables of docs/targets.md from profiles: python -m convert.targets.documentation."""

from __future__ import annotations

from convert.targets import TARGETS
from convert.targets.profile import Profile, get_profile


def tables() -> str:
    """Write as Markdown what each target takes, and which operators map onto which."""
    profiles = [get_profile(target) for target in TARGETS]
    lines = ["| target | what it is | schemes, the cheapest first | tensors | what does not map |"]
    lines += ["|---|---|---|---|---|"]
    for one in profiles:
        dtypes = ", ".join(sorted(one.dtypes))
        constants = ", ".join(sorted(one.constant_dtypes))
        tensors = dtypes + (f"; in constants {constants}" if constants else "")
        if one.inner_axes:
            tensors += f"; {one.inner_axes} inner axes"
        schemes = ", ".join(one.schemes)
        lines.append(f"| `{one.name}` | {one.title} | {schemes} | {tensors} | {one.rest} |")
    lines += ["", "Sources:", ""]
    lines += [
        f"- {one.name}: {source.what}; {source.where} ({source.date})"
        for one in profiles
        for source in one.sources
    ]
    listed = [one for one in profiles if one.operators is not None]
    names = sorted({name for one in listed for name in one.operators or {}})
    lines += ["", f"| operator | {' | '.join(one.name for one in listed)} |"]
    lines += ["|---" * (len(listed) + 1) + "|"]
    for name in names:
        lines.append(f"| {name} | {' | '.join(_cell(one, name) for one in listed)} |")
    return "\n".join(lines)


def _cell(profile: Profile, operator: str) -> str:
    entry = (profile.operators or {}).get(operator)
    if entry is None:
        return "-"
    words = [rule.replace("-", " ") for rule in entry.rules]
    if entry.runtime:
        words.append(f"runtime {entry.runtime}")
    if entry.limits:
        words.append(f"not checked: {entry.limits}")
    if entry.documented:
        words.append("documented, not tried")
    return "; ".join(words) or "yes"


if __name__ == "__main__":
    print(tables())
