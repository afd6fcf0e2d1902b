#!/usr/bin/env python3
"""Opens a LeRobotDataset v3.0 with the libraries of the Python robot-learning world and checks what they see.

    python dataset_readers.py DATASET

The calls are those that LeRobot 0.6.1 makes: pandas for the tasks, Hugging Face `datasets` with the features that
meta/info.json declares for the rows and without any for the episode table, PyAV for the frame at a time with a tolerance
of 1e-4 s. Everything is read: every row and every frame. Prints what was checked; exits with 1 at the first mismatch.
"""

import json
import sys
import tempfile
from pathlib import Path

import av
import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

TOLERANCE_S = 1e-4
DEFAULTS = {
    "timestamp": "float32",
    "frame_index": "int64",
    "episode_index": "int64",
    "index": "int64",
    "task_index": "int64",
}
STATISTICS = ("min", "max", "mean", "std", "q01", "q10", "q50", "q90", "q99")
QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}


class Mismatch(Exception):
    """The dataset is not what its readers expect."""


def require(condition, message):
    if not condition:
        raise Mismatch(message)


def close(a, b, tolerance):
    return bool(np.allclose(np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64), rtol=tolerance, atol=tolerance))


def read_info(root):
    info = json.loads((root / "meta/info.json").read_text())
    for key in ("codebase_version", "fps", "features"):
        require(key in info, f"meta/info.json has no {key}")
    require(info["codebase_version"].startswith("v3."), f"version {info['codebase_version']}")
    require(isinstance(info["fps"], int) and info["fps"] > 0, f"fps {info['fps']!r} is no positive integer")
    for name in ("chunks_size", "data_files_size_in_mb", "video_files_size_in_mb"):
        require(info[name] > 0, f"{name} is {info[name]}")
    for name, dtype in DEFAULTS.items():
        feature = info["features"].get(name)
        require(feature is not None, f"feature {name} is missing")
        require(feature["dtype"] == dtype and feature["shape"] == [1], f"feature {name} is {feature}")
    for name, feature in info["features"].items():
        require("/" not in name, f"feature {name} has a slash in its name")
        if feature["dtype"] in ("video", "image"):
            names = feature["names"]
            require(len(feature["shape"]) == 3 and names[2] in ("channel", "channels"), f"camera {name} is not height, width, channels")
    require(info["splits"].get("train") == f"0:{info['total_episodes']}", f"splits are {info['splits']}")
    return info


def hf_features(info):
    """The column types that LeRobot declares when it loads the rows."""
    columns = {}
    for name, feature in info["features"].items():
        shape, dtype = feature["shape"], feature["dtype"]
        if dtype == "video":
            continue
        if dtype == "image":
            columns[name] = datasets.Image()
        elif shape == [1]:
            columns[name] = datasets.Value(dtype=dtype)
        elif len(shape) == 1:
            columns[name] = datasets.Sequence(length=shape[0], feature=datasets.Value(dtype=dtype))
        elif len(shape) <= 5:
            array = {2: datasets.Array2D, 3: datasets.Array3D, 4: datasets.Array4D, 5: datasets.Array5D}[len(shape)]
            columns[name] = array(shape=tuple(shape), dtype=dtype)
        else:
            raise Mismatch(f"feature {name} has shape {shape}")
    return datasets.Features(columns)


def load_parquet(folder, features, cache):
    paths = sorted(folder.glob("*/*.parquet"))
    require(paths, f"{folder} has no parquet file")
    loaded = datasets.Dataset.from_parquet([str(p) for p in paths], features=features, cache_dir=cache)
    return loaded, paths


def check_tasks(root, info):
    tasks = pd.read_parquet(root / "meta/tasks.parquet")
    tasks.index.name = "task"
    require(list(tasks.columns) == ["task_index"], f"the tasks have columns {list(tasks.columns)}")
    require(len(tasks) == info["total_tasks"], f"{len(tasks)} tasks, and meta/info.json counts {info['total_tasks']}")
    require(tasks["task_index"].tolist() == list(range(len(tasks))), "task_index does not count up from 0")
    for position, text in enumerate(tasks.index):
        require(isinstance(text, str) and text.strip(), f"task {position} reads as {text!r}")
        require(tasks.iloc[position].name == text, f"task {position} by position is not {text!r}")
        require(int(tasks.loc[text].task_index) == position, f"task {text!r} by text is not {position}")
    return tasks


def check_episodes(root, info, tasks, cache):
    table, paths = load_parquet(root / "meta/episodes", None, cache)
    kept = [c for c in table.column_names if not c.startswith("stats/")]
    require(len(table) == info["total_episodes"], f"{len(table)} episodes, and meta/info.json counts {info['total_episodes']}")
    cameras = [k for k, f in info["features"].items() if f["dtype"] == "video"]
    start = 0
    for position, row in enumerate(table.select_columns(kept)):
        what = f"episode {position}"
        require(row["episode_index"] == position, f"{what} has episode_index {row['episode_index']}")
        require(row["dataset_from_index"] == start, f"{what} begins at {row['dataset_from_index']} instead of {start}")
        start += row["length"]
        require(row["dataset_to_index"] == start and row["length"] > 0, f"{what} ends at {row['dataset_to_index']}")
        require(row["tasks"] and all(t in tasks.index for t in row["tasks"]), f"{what} has tasks {row['tasks']}")
        data = info["data_path"].format(chunk_index=row["data/chunk_index"], file_index=row["data/file_index"])
        require((root / data).is_file(), f"{what} refers to {data}, which is missing")
        for key in cameras:
            length = row[f"videos/{key}/to_timestamp"] - row[f"videos/{key}/from_timestamp"]
            require(abs(length - row["length"] / info["fps"]) < TOLERANCE_S, f"{what} spans {length} s of {key}")
    require(start == info["total_frames"], f"{start} frames, and meta/info.json counts {info['total_frames']}")
    statistics = sorted({c.split("/")[1] for c in table.column_names if c.startswith("stats/")})
    for name in statistics:
        for statistic in (*STATISTICS, "count"):
            require(f"stats/{name}/{statistic}" in table.column_names, f"the episodes have no {statistic} of {name}")
    return table, len(paths), statistics


def check_rows(root, info, episodes, tasks, cache):
    features = hf_features(info)
    rows, paths = load_parquet(root / "data", features, cache)
    require(rows.features == features, f"the rows load as {rows.features}")
    require(len(rows) == info["total_frames"], f"{len(rows)} rows, and meta/info.json counts {info['total_frames']}")
    columns = {}
    for name, feature in info["features"].items():
        if feature["dtype"] in ("video", "image", "string"):
            continue
        values = np.asarray(rows.with_format("numpy")[name][:])
        shape = () if feature["shape"] == [1] else tuple(feature["shape"])
        require(values.shape == (len(rows), *shape), f"{name} loads with shape {values.shape}")
        require(str(values.dtype) == feature["dtype"], f"{name} loads as {values.dtype}")
        require(bool(np.isfinite(values.astype(np.float64)).all()), f"{name} has values that are not finite")
        columns[name] = values
    require(bool((columns["index"] == np.arange(len(rows))).all()), "index does not count the rows")
    require(int(columns["task_index"].max()) < len(tasks), "a row has a task that does not exist")
    for position, episode in enumerate(episodes):
        span = slice(episode["dataset_from_index"], episode["dataset_to_index"])
        frames = np.arange(episode["length"])
        require(bool((columns["episode_index"][span] == position).all()), f"the rows of episode {position} are not its own")
        require(bool((columns["frame_index"][span] == frames).all()), f"the frames of episode {position} do not count up")
        due = (frames / info["fps"]).astype(np.float32)
        require(bool((columns["timestamp"][span] == due).all()), f"the times of episode {position} are not frame / fps")
        task = tasks.iloc[int(columns["task_index"][span][0])].name
        require(task in episode["tasks"], f"the rows of episode {position} have the task {task!r}")
    # The way in which some episodes of many are loaded: the reader pushes the filter down to the files.
    last = len(episodes) - 1
    wanted = pa.compute.field("episode_index").isin([last])
    some = datasets.Dataset.from_parquet([str(p) for p in paths], features=features, filters=wanted, cache_dir=cache)
    require(len(some) == episodes[last]["length"], f"the filter for episode {last} gives {len(some)} rows")
    # Without declared features, as the dataset page of the Hub loads it.
    plain, _ = load_parquet(root / "data", None, cache)
    require(plain.features == features, f"without declared features the rows load as {plain.features}")
    for path in paths:
        require(pq.ParquetFile(path).schema_arrow.names == list(plain.column_names), f"{path.name} has other columns")
    return columns, len(paths)


class Video:
    """Frames of an mp4 at times in ascending order: seek to the keyframe before, decode on, take the nearest."""

    def __init__(self, path):
        self.path = path
        self.container = av.open(str(path))
        self.stream = self.container.streams.video[0]

    def frames_at(self, times):
        first, last = times[0], times[-1]
        self.container.seek(int(round(first / self.stream.time_base)), stream=self.stream, backward=True)
        loaded = []
        for frame in self.container.decode(self.stream):
            loaded.append((float(frame.pts * frame.time_base), frame))
            if loaded[-1][0] >= last - TOLERANCE_S:
                break
        require(loaded and loaded[0][0] <= first + TOLERANCE_S, f"{self.path.name}: seeking to {first} s lands behind it")
        shown = np.array([t for t, _ in loaded])
        for due in times:
            nearest = int(np.argmin(np.abs(shown - due)))
            distance = abs(shown[nearest] - due)
            require(distance < TOLERANCE_S, f"{self.path.name}: no frame at {due:.6f} s, the nearest is {distance:.6f} s away")
            yield loaded[nearest][1]


def check_videos(root, info, episodes, columns):
    fps = info["fps"]
    frames_read, files = 0, {}
    sums = {}
    for key, feature in info["features"].items():
        if feature["dtype"] != "video":
            continue
        height, width, channels = feature["shape"]
        sums[key] = [0, np.zeros(channels), np.zeros(channels)]
        for position, episode in enumerate(episodes):
            name = info["video_path"].format(
                video_key=key, chunk_index=episode[f"videos/{key}/chunk_index"], file_index=episode[f"videos/{key}/file_index"]
            )
            require((root / name).is_file(), f"episode {position} refers to {name}, which is missing")
            video = files.get(name)
            if video is None:
                video = files[name] = Video(root / name)
                video.expected = 0
                require(float(video.stream.average_rate) == fps, f"{name} has {video.stream.average_rate} frames per second")
                codec = {"libdav1d": "av1"}.get(video.stream.codec_context.name, video.stream.codec_context.name)
                require(codec == feature["info"]["video.codec"], f"{name} is {codec}")
                require(video.stream.codec_context.pix_fmt == feature["info"]["video.pix_fmt"], f"{name} has another pixel format")
            video.expected += episode["length"]
            # The stored time is a 32-bit float; LeRobot adds it to the start in doubles.
            span = slice(episode["dataset_from_index"], episode["dataset_to_index"])
            begin = episode[f"videos/{key}/from_timestamp"]
            times = [begin + float(t) for t in columns["timestamp"][span]]
            count = 0
            for frame in video.frames_at(times):
                if count == 0:
                    require(frame.key_frame, f"{name}: episode {position} does not begin with a keyframe")
                pixels = frame.to_ndarray(format="rgb24")
                require(pixels.shape == (height, width, channels), f"{name} has frames of shape {pixels.shape}")
                flat = pixels.reshape(-1, channels) / 255.0
                sums[key][0] += len(flat)
                sums[key][1] += flat.sum(axis=0)
                sums[key][2] += (flat**2).sum(axis=0)
                count += 1
            require(count == episode["length"], f"{name}: {count} frames for {episode['length']} rows")
            frames_read += count
    for name, video in files.items():
        video.container.close()
        with av.open(str(root / name)) as container:
            stream = container.streams.video[0]
            stated, decoded = stream.frames, sum(1 for _ in container.decode(stream))
        require(decoded == video.expected == stated, f"{name} has {decoded} frames ({stated} stated) for {video.expected} rows")
    means = {}
    for key, (count, total, squares) in sums.items():
        mean = total / count
        means[key] = (mean, np.sqrt(np.maximum(squares / count - mean**2, 0)))
    return frames_read, len(files), means


def check_statistics(root, info, columns, means):
    stats = json.loads((root / "meta/stats.json").read_text())
    for name, feature in info["features"].items():
        if feature["dtype"] == "string":
            continue
        require(name in stats, f"meta/stats.json has nothing about {name}")
        found = {s: np.asarray(stats[name][s], dtype=np.float64) for s in (*STATISTICS, "count")}
        require(found["count"].shape == (1,), f"the count of {name} has shape {found['count'].shape}")
        image = feature["dtype"] in ("video", "image")
        shape = (feature["shape"][2], 1, 1) if image else tuple(feature["shape"])
        for statistic in STATISTICS:
            require(found[statistic].shape == shape, f"{statistic} of {name} has shape {found[statistic].shape}")
            require(bool(np.isfinite(found[statistic]).all()), f"{statistic} of {name} is not finite")
        if image:
            require(bool((found["min"] >= 0).all() and (found["max"] <= 1).all()), f"{name} is not scaled to 0..1")
            if name in means:
                # Recorded before compression, and every n-th pixel of large frames only.
                mean, std = means[name]
                require(close(found["mean"].ravel(), mean, 0.03), f"{name} has mean {mean}, and {found['mean'].ravel()} is stated")
                require(close(found["std"].ravel(), std, 0.03), f"{name} has std {std}, and {found['std'].ravel()} is stated")
            continue
        values = columns[name].reshape(len(columns[name]), -1).astype(np.float64)
        require(int(found["count"][0]) == len(values), f"the count of {name} is {found['count'][0]}")
        exact = {
            "min": values.min(axis=0), "max": values.max(axis=0), "mean": values.mean(axis=0), "std": values.std(axis=0),
            **{q: np.quantile(values, p, axis=0) for q, p in QUANTILES.items()},
        }  # fmt: skip
        for statistic, value in exact.items():
            scale = max(1.0, float(np.abs(values).max()))
            require(close(found[statistic].ravel() / scale, value / scale, 1e-9), f"{statistic} of {name} is {value}, and {found[statistic].ravel()} is stated")
    return len(stats)


def main(arguments):
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    root = Path(arguments[1])
    datasets.disable_progress_bars()
    try:
        info = read_info(root)
        print(f"info: {info['codebase_version']}, {info['total_episodes']} episodes, {info['total_frames']} frames, {info['fps']} fps")
        tasks = check_tasks(root, info)
        print(f"pandas {pd.__version__}: {len(tasks)} tasks by position and by text, first {tasks.index[0]!r}")
        with tempfile.TemporaryDirectory() as cache:
            episodes, files, statistics = check_episodes(root, info, tasks, cache)
            print(f"datasets {datasets.__version__}: episode table of {files} files, {len(episodes.column_names)} columns, statistics of {len(statistics)} features")
            columns, files = check_rows(root, info, episodes, tasks, cache)
            print(f"datasets {datasets.__version__}: {info['total_frames']} rows of {len(columns)} columns in {files} files: with the declared types, without, and filtered")
            frames, files, means = check_videos(root, info, episodes, columns)
            print(f"PyAV {av.__version__}: {frames} frames in {files} videos, each within {TOLERANCE_S} s of its row")
            count = check_statistics(root, info, columns, means)
            print(f"numpy {np.__version__}: statistics of {count} features recomputed, quantiles exact")
    except (Mismatch, KeyError, OSError, ValueError, av.FFmpegError, pa.ArrowException, datasets.exceptions.DatasetsError) as error:
        print(f"MISMATCH: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    print("ok")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
