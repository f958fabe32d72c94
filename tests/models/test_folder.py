"""A user's own recordings as a task; all files are made here."""

import shutil
import wave
from dataclasses import replace

import numpy as np
import pytest

from models.cross_validation import folds
from models.errors import MissingDataError, ModelsError
from models.tasks import data_facts, load_task
from models.tasks.folder import load
from models.tasks.folder_settings import FolderSettings
from models.tasks.sequence_set import TargetKind
from tests.checks.tasks import check_task

SUBJECTS = ("ann", "ben", "cem", "dana", "eva", "finn")
CLASSES = ("sit", "walk")


def write_csv(path, columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values()))]  # noqa: B905
    path.write_text("\n".join(lines) + "\n")


def numbers(chance, rows=40):
    return [round(value, 6) for value in chance.normal(size=rows)]


@pytest.fixture
def folder(tmp_path):
    """SUBJECT/CLASS/NUMBER.csv: two recordings of each class by each of six subjects."""
    chance = np.random.default_rng(1)
    for subject in SUBJECTS:
        for label in CLASSES:
            for number in range(2):
                columns = {"x": numbers(chance), "y": numbers(chance)}
                write_csv(tmp_path / "data" / subject / label / f"{number}.csv", columns)
    return tmp_path / "data"


def sorted_settings(folder, **more):
    given = {"labels": "folder", "group": "folder:1", "frame_period_s": 0.02, **more}
    return FolderSettings(str(folder), **given)


def groups_of(task):
    parts = (task.train, task.validation, task.test)
    return [set(part.groups.tolist()) for part in parts]


def test_classes_and_groups_by_folders(folder):
    task = load(sorted_settings(folder, group_name="subject", units="g"))
    check_task(task)
    assert task.labels == CLASSES
    assert task.channels == ("x", "y")
    assert (task.name, task.group_name, task.units) == ("data", "subject", "g")
    train, validation, test = groups_of(task)
    assert not train & validation
    assert not train & test
    assert not validation & test
    assert len(train | validation | test) == len(SUBJECTS)
    assert len(task.train) + len(task.validation) + len(task.test) == 24
    assert len(folds(task)) == len(train | validation)


def test_named_groups(folder):
    chosen = {"validation_groups": ("ben",), "test_groups": ("ann", "eva")}
    task = load(sorted_settings(folder, **chosen))
    assert groups_of(task) == [{2, 3, 5}, {1}, {0, 4}]
    with pytest.raises(ModelsError, match="no recording is of the group 'zoe'; of: ann, ben"):
        load(sorted_settings(folder, validation_groups=("zoe",), test_groups=("ann",)))


def test_told_parts(tmp_path):
    chance = np.random.default_rng(2)
    for part in ("train", "val", "test"):
        for label in CLASSES:
            write_csv(tmp_path / part / label / "a.csv", {"x": numbers(chance)})
    task = load(sorted_settings(tmp_path, group="", split="folder:1"))
    assert [len(part) for part in (task.train, task.validation, task.test)] == [2, 2, 2]
    shutil.move(tmp_path / "val", tmp_path / "other")
    with pytest.raises(ModelsError, match="of the part 'other'; parts are called train"):
        load(sorted_settings(tmp_path, group="", split="folder:1"))


def test_random_split_says_so(folder):
    task = load(sorted_settings(folder, group="", split="random"))
    assert any("split at random" in remark for remark in task.remarks)
    assert task.group_name == ""


def test_a_table_of_labels_and_a_pattern(folder):
    lines = ["file,label,group"]
    files = sorted(path.relative_to(folder).as_posix() for path in folder.glob("**/*.csv"))
    lines += [f"{file},{file.split('/')[1]},{file.split('/')[0]}" for file in files]
    (folder / "labels.csv").write_text("\n".join(lines))
    by_table = load(sorted_settings(folder, labels="table:labels.csv", group="table:labels.csv"))
    (folder / "labels.csv").unlink()
    pattern = r"^(?P<group>[a-z]+)/(?P<label>[a-z]+)/"
    by_pattern = load(
        sorted_settings(folder, labels="pattern", group="pattern", name_pattern=pattern)
    )
    by_folder = load(sorted_settings(folder))
    for task in (by_table, by_pattern):
        assert task.labels == by_folder.labels
        np.testing.assert_array_equal(task.test.groups, by_folder.test.groups)
        np.testing.assert_array_equal(task.train.padded, by_folder.train.padded)


def one_table(tmp_path, **columns):
    """One file with the rows of all subjects behind each other."""
    chance = np.random.default_rng(3)
    rows = 40
    table = {
        "who": [subject for subject in SUBJECTS for _ in range(rows)],
        "what": [CLASSES[row // 20] for _ in SUBJECTS for row in range(rows)],
        "time": [0.05 * row for row in range(rows * len(SUBJECTS))],
        "x": numbers(chance, rows * len(SUBJECTS)),
    }
    write_csv(tmp_path / "all.csv", {**table, **columns})
    return FolderSettings(str(tmp_path), labels="column:what", group="column:who", time="time")


def test_a_column_that_changes_labels_steps(tmp_path):
    task = load(one_table(tmp_path))
    assert task.train.kind is TargetKind.STEP_LABELS
    assert task.channels == ("x",)
    assert task.frame_period_s == pytest.approx(0.05)
    assert task.train.step_labels[0].tolist() == [0] * 20 + [1] * 20
    check_task(task)


def test_steps_without_a_class(tmp_path):
    what = [["sit", "", "walk", "walk"][row // 10] for _ in SUBJECTS for row in range(40)]
    task = load(one_table(tmp_path, what=what))
    assert task.train.step_labels[0].tolist() == [0] * 10 + [-1] * 10 + [1] * 20


def test_cut_where_the_class_changes(tmp_path):
    settings = one_table(tmp_path)
    task = load(FolderSettings(**{**vars(settings), "cut_at_labels": True}))
    assert task.train.kind is TargetKind.LABEL
    assert set(task.train.lengths.tolist()) == {20}


def test_cut_where_time_jumps(tmp_path):
    time = [0.05 * row + (100 if row % 40 >= 30 else 0) for row in range(240)]
    assert set(load(one_table(tmp_path, time=time)).train.lengths.tolist()) == {30, 10}


def test_dates(tmp_path):
    start = np.datetime64("2026-01-01T00:00:00")
    dates = [str(start + np.timedelta64(300 * row, "s")) for row in range(240)]
    assert load(one_table(tmp_path, time=dates)).frame_period_s == pytest.approx(300)


def test_windows_overlap_in_training_alone(folder):
    task = load(sorted_settings(folder, window=20, hop=5))
    assert len(task.train) == 5 * len(set(task.train.groups)) * 4
    assert len(task.test) == 2 * len(set(task.test.groups)) * 4
    assert set(task.test.lengths.tolist()) == {20}


def test_rows_are_gathered_in_frames(folder):
    task = load(sorted_settings(folder, samples_per_frame=4))
    assert task.channels[:3] == ("x 1", "y 1", "x 2")
    assert task.frame_period_s == pytest.approx(0.08)
    assert task.front_end == {"kind": "samples", "samples_per_frame": 4, "channels": 2}
    plain = load(sorted_settings(folder))
    np.testing.assert_array_equal(task.test.sequences[0].reshape(40, 2), plain.test.sequences[0])


def test_values_ahead_never_look_into_the_next_part(tmp_path):
    rows = np.arange(100.0)
    noise = np.random.default_rng(5).normal(size=100)
    write_csv(tmp_path / "one.csv", {"level": rows, "flow": noise})
    task = load(
        FolderSettings(
            str(tmp_path), values=("level",), channels=("level", "flow"), ahead=5, split="time",
            frame_period_s=60.0,
        )
    )  # fmt: skip
    assert task.labels == ("level in 5 steps",)
    assert task.train.kind is TargetKind.VALUES
    parts = (task.train, task.validation, task.test)
    spans = [(p.sequences[0][0, 0], p.values[0][-1, 0]) for p in parts]
    assert spans == [(0, 59), (60, 79), (80, 99)]
    for part in parts:
        np.testing.assert_array_equal(part.sequences[0][:, :1] + 5, part.values[0])


def test_an_archive_of_sequences(tmp_path):
    chance = np.random.default_rng(6)
    arrays = {
        "x": chance.normal(size=(24, 10, 3)),
        "y": np.arange(24) % 2,
        "subject": np.arange(24) // 4,
    }
    np.savez(tmp_path / "all.npz", **arrays)
    settings = FolderSettings(
        str(tmp_path), labels="column:y", group="column:subject", frame_period_s=0.1
    )
    task = load(settings)
    check_task(task)
    assert task.labels == ("0", "1")
    assert task.channels == ("x 1", "x 2", "x 3")
    np.savez(tmp_path / "all.npz", x=arrays["x"], y=arrays["y"], subject=np.arange(3))
    with pytest.raises(ModelsError, match=r"'subject' tells \(3,\) of 24 sequences"):
        load(settings)
    np.savez(tmp_path / "all.npz", x=np.array([{}], object), allow_pickle=True)
    with pytest.raises(ModelsError, match=r"all.npz cannot be read"):
        load(settings)


def test_parquet_is_read_as_csv_is(folder):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    as_csv = load(sorted_settings(folder))
    for path in folder.glob("**/*.csv"):
        pandas.read_csv(path).to_parquet(path.with_suffix(".parquet"))
        path.unlink()
    np.testing.assert_array_equal(load(sorted_settings(folder)).train.padded, as_csv.train.padded)


@pytest.fixture
def sounds(tmp_path):
    """Settings of a folder with six WAV files of a second, 8 kHz in stereo, by three speakers."""
    pytest.importorskip("pymicro_features")
    chance = np.random.default_rng(7)
    for speaker in SUBJECTS[:3]:
        for label in ("yes", "no"):
            sound = (3000 * chance.normal(size=(8000, 2))).astype("<i2")
            with wave.open(str(tmp_path / f"{speaker}_{label}.wav"), "wb") as file:
                file.setnchannels(2)
                file.setsampwidth(2)
                file.setframerate(8000)
                file.writeframes(sound.tobytes())
    return FolderSettings(
        str(tmp_path), labels="pattern", group="pattern",
        name_pattern="(?P<group>[a-z]+)_(?P<label>[a-z]+)",
    )  # fmt: skip


def test_sound(sounds):
    task = load(sounds)
    assert len(task.channels) == 40
    assert task.frame_period_s == pytest.approx(0.02)
    assert task.front_end["kind"] == "log-mel"
    assert {"2 channels of sound averaged", "sound of 8000 Hz resampled to 16000 Hz"} <= set(
        task.remarks
    )
    assert all(abs(length - 49) <= 1 for length in task.train.lengths)


def test_sound_in_frames_of_ones_own_sizes(sounds):
    sizes = {"sample_rate": 8000, "frame_length_s": 0.03, "every": 4, "mels": 20, "cepstra": 13}
    task = load(replace(sounds, front_end="mel", **sizes))
    check_task(task)
    assert task.channels[0] == "cepstrum 1"
    assert (len(task.channels), task.units) == (13, "mel cepstrum")
    assert task.frame_period_s == pytest.approx(0.04)
    assert task.front_end == {"kind": "mel", "sample_rate": 8000, "window_samples": 240,
                              "hop_samples": 320, "mels": 20, "cepstra": 13}  # fmt: skip
    assert not any("resampled" in remark for remark in task.remarks)
    assert set(task.train.lengths) == {(8000 - 240) // 320 + 1}
    energies = load(replace(sounds, front_end="mel", mels=10))
    assert (len(energies.channels), energies.units) == (10, "logarithm of mel energy")


def test_means_and_differences_are_of_seconds_whatever_the_frame_period(sounds):
    for every, mean, delta in ((1, 150, 6), (3, 50, 2)):
        following = {"mels": 10, "mean_s": 1.5, "delta_s": 0.06, "every": every}
        task = load(replace(sounds, front_end="mel", **following))
        check_task(task)
        assert (len(task.channels), task.channels[10]) == (20, "difference of mel 1")
        found = (task.front_end["mean_frames"], task.front_end["delta_frames"])
        assert found == (mean, delta)


def test_windows_in_seconds_are_as_long_whatever_the_frame_period(sounds):
    for every, length in ((1, 40), (4, 10)):
        task = load(replace(sounds, every=every, window_s=0.4, hop_s=0.2))
        assert set(task.train.lengths) == {length}
        assert len(task.validation) == 2 * 2


def test_other_ways_to_read_the_same_files_are_told_apart(sounds):
    found = [data_facts("folder", replace(sounds, every=every)) for every in (1, 2)]
    assert found[0]["recordings"] == found[1]["recordings"]
    assert found[0] != found[1]


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ({"labels": ""}, "give 'labels'"),
        ({"labels": "column"}, "'labels' is one of 'folder'"),
        ({"labels": "folder:0"}, "'labels' is one of 'folder'"),
        ({"group": ""}, "so that nobody is on two sides"),
        ({"split": "half"}, "'split' is one of"),
        ({"labels": "pattern", "name_pattern": "("}, "no regular expression"),
        ({"labels": "pattern", "name_pattern": "(?P<group>.)"}, r"no part \(\?P<label>"),
        ({"ahead": 3}, "'ahead' is for 'values'"),
        ({"hop": 3}, "give 'window' too"),
        ({"test_groups": ("a",)}, "give both"),
        ({"test_groups": ("a",), "validation_groups": ("a",)}, "a group is in"),
        ({"hop_s": 3}, "give 'window' too"),
        ({"window": 3, "window_s": 1.0}, "not both"),
        ({"mels": 20}, "'mels' is of mel frames"),
        ({"mean_s": 1.5}, "'mean_s' is of mel frames"),
        ({"front_end": "mel", "mels": 20, "cepstra": 21}, "20 cepstra at most, not 21"),
        ({"samples_per_frame": 0}, "samples_per_frame must be 1 or more"),
    ],
)
def test_settings_that_cannot_be(given, part):
    with pytest.raises(ModelsError, match=part):
        sorted_settings("anywhere", **given)


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("", "it is empty; its first line names the columns"),
        ("1,2\n3,4\n", "line 1 holds numbers"),
        ("x,y\n1,2\n3,\n", r"row 2 has no finite number in 'y' \(1 such rows\)"),
        ("x,y\n1,2\n3,inf\n", "row 2 has no finite number in 'y'"),
        ("x,z\n1,2\n", "has the channels x, z; those of .* are x, y"),
        ("x,y\n1,a lot\n", "has the channels x; those of"),
        ("x,x\n1,2\n", "cannot be read|two columns are called 'x'"),
        ("x,y\n1,2\n1,2,3\n", "cannot be read"),
        ("note\nhello\n", "no column of numbers left"),
    ],
)
def test_damaged_tables(folder, content, part):
    (folder / "finn" / "walk" / "1.csv").write_text(content)
    with pytest.raises(ModelsError, match=part):
        load(sorted_settings(folder))


def test_named_channels_must_be_numbers(folder):
    with pytest.raises(ModelsError, match="has no column 'z'; it has: x, y"):
        load(sorted_settings(folder, channels=("x", "z")))
    (folder / "ann" / "sit" / "0.csv").write_text("x,y\n1,a lot\n")
    with pytest.raises(ModelsError, match="the column 'y' holds 'a lot', which is no number"):
        load(sorted_settings(folder, channels=("x", "y")))


def test_missing_numbers_cut_a_recording(folder):
    path = folder / "ann" / "sit" / "0.csv"
    lines = path.read_text().splitlines()
    lines[11] = "NaN,1.0"
    path.write_text("\n".join(lines))
    task = load(sorted_settings(folder, missing="cut"))
    lengths = [int(n) for part in (task.train, task.validation, task.test) for n in part.lengths]
    assert sorted(lengths)[:3] == [10, 29, 40]


def test_folders_that_cannot_be(tmp_path, folder):
    with pytest.raises(MissingDataError, match="there is no folder"):
        load(sorted_settings(tmp_path / "nowhere"))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.txt").write_text("x")
    with pytest.raises(MissingDataError, match=r"no file '\*\*/\*' of .*; it has: \.txt"):
        load(sorted_settings(tmp_path / "other"))
    with pytest.raises(ModelsError, match="all recordings are of 2 subjects"):
        load(sorted_settings(folder, group="folder", group_name="subject"))
    with pytest.raises(ModelsError, match="give 'frame_period_s' in seconds"):
        load(sorted_settings(folder, frame_period_s=None))
    with pytest.raises(ModelsError, match="long enough"):
        load(sorted_settings(folder, window=1000))
    shutil.rmtree(folder / "ann")
    write_csv(folder / "loose.csv", {"x": [1.0], "y": [2.0]})
    with pytest.raises(ModelsError, match="does not lie in a folder"):
        load(sorted_settings(folder))


def test_facts_tell_data_apart_and_not_its_place(tmp_path, folder):
    facts = data_facts("folder", sorted_settings(folder))
    shutil.copytree(folder, tmp_path / "elsewhere")
    assert data_facts("folder", sorted_settings(tmp_path / "elsewhere")) == facts
    assert data_facts("folder", sorted_settings(folder, window=10)) != facts
    (folder / "ann" / "sit" / "0.csv").write_text("x,y\n1,2\n")
    assert data_facts("folder", sorted_settings(folder)) != facts


def test_the_task_is_described(folder):
    with pytest.raises(MissingDataError, match=r"needs a table \[data\]"):
        load_task("folder")
    with pytest.raises(ModelsError, match=r"brings its data; leave out \[data\]"):
        load_task("japanese-vowels", sorted_settings(folder))
