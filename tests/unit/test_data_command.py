"""`bikeshare data` from the outside: exit codes, JSON, and the round from landing to release."""

import gzip
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from bikeshare.cli import main


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], root: Path) -> Any:
    monkeypatch.setenv("BIKESHARE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("BIKESHARE_CLOCK", f"file:{tmp_path / 'clock'}")
    monkeypatch.chdir(root)
    (tmp_path / "clock").write_text("2011-02-01T00:00:00", encoding="utf-8")

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["data", *arguments])
        output = capsys.readouterr()
        return int(ended.value.code or 0), output.out, output.err

    return call


def test_from_landing_to_release(run: Any) -> None:
    code, out, _ = run("land", "--start", "2011-01-15", "--end", "2011-01-20", "--json")
    assert (code, json.loads(out)["days"], len(json.loads(out)["written"])) == (0, 5, 5)
    assert run("land", "--start", "2011-01-15", "--end", "2011-01-20")[1].startswith("5 days, 0 written")

    code, out, _ = run("status", "--json")
    assert (code, len(json.loads(out)["pending_days"]), json.loads(out)["rows"]) == (0, 5, 0)

    code, out, _ = run("ingest", "--json")
    document = json.loads(out)
    assert (code, len(document["accepted_days"])) == (0, 4)
    assert "Only 12 of 24 hours" in document["quarantined_days"]["2011-01-18"]

    code, out, _ = run("quarantine", "list", "--json")
    assert [note["day"] for note in json.loads(out)] == ["2011-01-18"]
    assert "completeness" in json.loads(out)[0]["rules"]

    code, out, _ = run("quarantine", "dismiss", "2011-01-18")
    assert (code, out.strip()) == (0, "2011-01-18 dismissed: trainings go on without it")
    assert "dismissed" in json.loads(run("quarantine", "list", "--json")[1])[0]
    assert run("quarantine", "dismiss", "2011-01-19")[0] == 2

    code, _, err = run("release", "2011-01-18")
    assert code == 2
    assert "still fails and stays in quarantine" in err
    code, out, _ = run("release", "2011-01-18", "--force", "--json")
    assert (code, json.loads(out)["rows"]) == (0, 12)

    code, out, _ = run("status")
    assert code == 0
    assert "accepted     107 hours" in out
    assert "quarantined  0 days" in out
    assert run("quarantine", "list")[1].strip() == "the quarantine is empty"


def test_history_that_is_too_old_to_be_accepted_is_not_landed(run: Any, tmp_path: Path) -> None:
    (tmp_path / "clock").write_text("2026-11-27T00:00:00", encoding="utf-8")

    code, _, err = run("land")
    assert code == 2
    assert "these days end 2012-12-31" in err
    assert "`--until today`" in err
    assert json.loads(run("status", "--json")[1])["pending_days"] == []


def test_history_can_be_moved_to_today(run: Any) -> None:
    code, out, _ = run("land", "--until", "2026-11-25", "--start", "2026-11-20", "--json")
    assert code == 0
    assert [Path(key).parent.name for key in json.loads(out)["written"]] == [
        f"date=2026-11-{day}" for day in range(20, 25)
    ]
    assert run("land", "--until", "tomorrow")[0] == 2


def test_an_own_file_is_imported_by_its_mapping(run: Any, root: Path, tmp_path: Path) -> None:
    lines = gzip.decompress((root / "data" / "hour.csv.gz").read_bytes()).split(b"\r\n")[:50]
    file = tmp_path / "mine.csv"
    file.write_bytes(b"\n".join(lines) + b"\n")
    mapping = str(root / "data" / "example-mapping.yaml")
    code, out, _ = run("import", str(file), "--mapping", mapping, "--dry-run", "--json")
    document = json.loads(out)
    assert (code, document["rows"], document["written"]) == (0, 49, [])
    assert document["missing_hours"] > 0
    code, out, _ = run("import", str(file), "--mapping", mapping)
    assert code == 0
    assert "3 days landed" in out


@pytest.mark.parametrize(("content", "message"), [
    (b"", "the file is empty"),
    (b"dteday,hr\n2011-01-01,0\n", "the file has no column 'temp'"),
    (b"\xff\xfe\x00\x01", "not UTF-8"),
    (b"PAR1 half a file", "not a readable Parquet"),
])
def test_a_bad_file_is_exit_code_2_and_one_line(
    run: Any, root: Path, tmp_path: Path, content: bytes, message: str
) -> None:
    file = tmp_path / "bad.csv"
    file.write_bytes(content)
    code, out, err = run("import", str(file), "--mapping", str(root / "data" / "example-mapping.yaml"))
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.strip().splitlines()) == 1


def test_absent_files_and_broken_mappings_are_exit_code_2(run: Any, tmp_path: Path) -> None:
    mapping = tmp_path / "m.yaml"
    code, _, err = run("import", str(tmp_path / "none.csv"), "--mapping", str(mapping))
    assert (code, "cannot read" in err) == (2, True)
    mapping.write_text("a: [1", encoding="utf-8")
    code, _, err = run("import", str(tmp_path / "none.csv"), "--mapping", str(mapping))
    assert (code, "is not YAML" in err) == (2, True)
    mapping.write_text("timestamp: 3", encoding="utf-8")
    assert "must be a table" in run("import", str(tmp_path / "none.csv"), "--mapping", str(mapping))[2]


def test_releasing_a_day_that_is_not_there_is_exit_code_2(run: Any) -> None:
    code, _, err = run("release", "2011-01-05")
    assert code == 2
    assert "not in quarantine" in err
    assert run("release", "yesterday")[0] == 2


def test_predictions_expire_by_age_and_a_second_run_finds_none(
    run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from bikeshare.adapters.records import SqlRecords
    from bikeshare.ports import PredictionRow

    (tmp_path / "home").mkdir()
    records = SqlRecords(f"sqlite:///{tmp_path / 'home' / 'records.db'}")
    records.migrate()
    old, kept = datetime(2010, 12, 31, 23), datetime(2011, 1, 2, 1)
    records.insert_predictions([
        PredictionRow(
            request_id=f"r{position}", position=0, predicted_at=moment, model_version="1", timestamp=moment,
            temp_c=1.0, feels_like_c=1.0, humidity_pct=50.0, windspeed_kmh=3.0, weather="clear", is_holiday=False,
            features_hash="h", demand=5.0, lower_80=4.0, upper_80=6.0, lower_95=3.0, upper_95=7.0, source="mean",
            degraded=False, level_age_hours=1.0,
        )
        for position, moment in enumerate([old, kept])
    ])

    monkeypatch.setenv("BIKESHARE_RETENTION_DAYS", "31")
    code, out, _ = run("expire", "--json")
    assert (code, json.loads(out)) == (0, {"deleted": 1, "before": "2011-01-01 00:00:00"})
    assert run("expire")[1].startswith("0 predictions made before 2011-01-01")
    left = records.iter_predictions(datetime(2010, 1, 1), datetime(2012, 1, 1))
    assert [moment for batch in left for moment in batch["predicted_at"]] == [kept]
