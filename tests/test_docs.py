"""What the documents promise is there: settings, commands, targets, files, examples."""

import doctest
import re
import subprocess
from pathlib import Path

import pytest

from kappawatt import settings

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]


def settings_table() -> str:
    """The README's table of settings, from the settings themselves."""
    rows = []
    for about in settings.about():
        default = "" if about.default in (None, "") else f"`{about.default}`"
        rows.append(f"| `KAPPAWATT_{about.name.upper()}` | {about.unit} | {default} | {about.help} |")
    return "\n".join(["| setting | unit | default | |", "|---|---|---|---|", *rows])


def test_readme_lists_every_setting():
    written = README.split("<!-- settings -->\n")[1].split("\n<!-- /settings -->")[0]

    assert written == settings_table(), f"the README's table has to be:\n{settings_table()}"


def test_every_command_in_the_documents_exists(capsys):
    from kappawatt.cli import main

    named = {
        word for path in DOCUMENTS for word in re.findall(r"^\s*kappawatt ([a-z]+)", path.read_text(), re.MULTILINE)
    }
    with pytest.raises(SystemExit):
        main(["--help"])
    known = set(re.findall(r"^    ([a-z]+) ", capsys.readouterr().out, re.MULTILINE))

    assert named - known == set()


def test_every_make_target_in_the_documents_exists():
    named = {
        word for path in DOCUMENTS for word in re.findall(r"(?:`|^)make ([a-z0-9-]+)", path.read_text(), re.MULTILINE)
    }
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    known = set(re.findall(r"make ([a-z0-9-]+)", listed))

    assert named
    assert named - known == set()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(document):
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text())

    assert [target for target in targets if not (document.parent / target).exists()] == []


def test_every_piece_of_the_job_guide_is_in_the_example():
    guide = (ROOT / "docs/build-your-own-job.md").read_text()
    code = [path.read_text() for path in sorted((ROOT / "examples/downsampling").glob("*.py"))]
    pieces = re.findall(r"^```python\n(.*?)^```", guide, re.MULTILINE | re.DOTALL)

    assert len(pieces) > 5
    assert [piece for piece in pieces if not any(piece in text for text in code)] == []


def test_examples_of_the_driver_give_what_the_document_shows():
    assert doctest.testfile(str(ROOT / "docs/testing.md"), module_relative=False).failed == 0


def test_every_test_that_a_guarantee_rests_on_exists():
    files = {path.name: path.read_text() for path in (ROOT / "tests").rglob("test_*.py")}
    named = re.findall(r"`(test_\w+\.py)::(\*|\w+)`", (ROOT / "docs/guarantees.md").read_text())
    missing = [
        f"{file}::{name}"
        for file, name in named
        if file not in files or (name != "*" and f"def {name}(" not in files[file])
    ]

    assert len(named) > 40
    assert missing == []


def test_guarantees_are_sorted_by_topic():
    table = (ROOT / "docs/guarantees.md").read_text().partition("\n## ")[0]
    topics = re.findall(r"^\| ([A-Z]\w+) \|", table, re.MULTILINE)

    assert len(topics) > 20
    assert topics == sorted(topics)


def test_data_attribution_is_in_the_readme():
    assert "Ember" in README
    assert "CC BY 4.0" in README


def test_tables_of_scaling_are_what_the_arithmetic_gives():
    from benchmarks.make_scaling import coefficient_table, need_table

    page = (ROOT / "docs/scaling.md").read_text()

    assert page.split("<!-- measured -->\n")[1].split("\n<!-- /measured -->")[0] == coefficient_table()
    assert page.split("<!-- needs -->\n")[1].split("\n<!-- /needs -->")[0] == need_table()
