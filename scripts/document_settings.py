"""Write docs/configuration.md from the settings themselves; a test fails when the file is stale."""

import sys
from dataclasses import fields, is_dataclass
from pathlib import Path

from pydantic import AliasChoices, SecretStr

from bikeshare.settings import PREFIX, Settings

HEADER = """# Configuration

Generated from `bikeshare/settings.py` by `python scripts/document_settings.py`; do not edit.
An unknown `BIKESHARE_*` variable is an error, so a misspelt one cannot be ignored silently.

| variable | default | meaning |
| --- | --- | --- |
"""

POLICY_HEADER = """
## {name}: {title}

`{prefix}__<FIELD>`, e.g. `{prefix}__{example}`.

| field | default | meaning |
| --- | --- | --- |
"""


def document() -> str:
    """The whole page as Markdown."""
    lines, policies = [HEADER], []
    for name, field in sorted(Settings.model_fields.items()):
        default = field.get_default(call_default_factory=True)
        alias = field.validation_alias
        variable = str(alias.choices[0]) if isinstance(alias, AliasChoices) else PREFIX + name.upper()
        if is_dataclass(default):
            policies.append((variable, name, default))
            continue
        shown = "secret, empty" if isinstance(default, SecretStr) else f"`{default}`" if str(default) else "empty"
        lines.append(f"| `{variable}` | {shown} | {field.description} |\n")
    for variable, name, default in policies:
        summary = (type(default).__doc__ or "").strip().splitlines()[0]
        names = [item.name for item in fields(default)]
        lines.append(POLICY_HEADER.format(name=name, title=summary, prefix=variable, example=names[0].upper()))
        documented = _attribute_docs(type(default).__doc__ or "", names)
        described = {item: text.replace("|", "\\|") for item, text in documented.items()}
        lines += [f"| `{item}` | `{getattr(default, item)}` | {described.get(item, '')} |\n" for item in names]
    return "".join(lines)


def _attribute_docs(docstring: str, names: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    current, inside = "", False
    for line in docstring.splitlines():
        text = line.strip()
        if text in ("Attributes:", "Args:"):
            inside = True
        elif inside and ":" in text and text.split(":")[0] in names:
            current, _, rest = text.partition(":")
            found[current] = rest.strip()
        elif inside and current and text:
            found[current] += " " + text
    return found


if __name__ == "__main__":
    target = Path(__file__).resolve().parents[1] / "docs" / "configuration.md"
    target.write_text(document(), encoding="utf-8")
    sys.stdout.write(f"wrote {target.name}\n")
