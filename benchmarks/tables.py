"""Format results as the Markdown tables of docs/performance.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def conditions(cases: dict[str, Any]) -> str:
    """Describe when and on which machine the cases were measured, with one paragraph per machine and day."""
    machines: list[tuple[dict[str, Any], list[str]]] = []
    for case, measured in cases.items():
        here = measured["machine"]
        load = f"{case}: {measured['load_before']:.1f} and {measured['load_after']:.1f}, {measured['rounds']} "
        load += "round" if measured["rounds"] == 1 else "rounds"
        same = next((loads for other, loads in machines if other == here), None)
        if same is None:
            machines.append((here, [load]))
        else:
            same.append(load)
    return "\n\n".join(
        f"{describe(here)} Load average before and after: {'; '.join(loads)}." for here, loads in machines
    )


def describe(machine: dict[str, Any]) -> str:
    """Return a line with date, hardware and versions."""
    versions = ", ".join(
        f"{name} {machine[name]}" for name in ("torch", "transformers", "openvino") if machine.get(name)
    )
    cores = ", ".join([f"{machine['cores']} cores", *machine["extensions"]])
    cpu = f"{machine['cpu']} ({cores})"
    card = machine.get("card")
    if card and "cuda" in card:
        gigabytes = f"{card['memory_bytes'] / 1e9:.0f} GB"
        cpu = f"{card['name']} ({gigabytes}, CUDA {card['cuda']}, cuDNN {card['cudnn']}) with {cpu}"
    return (
        f"{machine['date']}, {cpu}, {machine['threads']} threads, {machine['system']}, Python {machine['python']}, "
        f"{versions}."
    )


def table(header: list[str], rows: list[list[str]]) -> str:
    """Format a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def speed_tables(report: dict[str, Any]) -> str:
    """Return the tables of times and errors: a row for each implementation, a column for each size."""
    cases = report["cases"]
    runners = dict.fromkeys(runner for measured in cases.values() for runner in measured["runners"])

    def by_size(cell: Callable[[dict[str, Any]], str]) -> str:
        rows = []
        for runner in runners:
            found = [measured["runners"].get(runner) for measured in cases.values()]
            rows.append([runner, *(cell(row) if row else "" for row in found)])
        return table(["", *cases], rows)

    def error(name: str) -> Callable[[dict[str, Any]], str]:
        return lambda row: f"{row[name]['max_of_range']:.1e}, {row[name]['mean_relative']:.1e}" if name in row else ""

    return "\n\n".join(
        [
            conditions(cases),
            "Median time in milliseconds, and ratio:",
            by_size(lambda row: f"{1000 * row['median_s']:.0f}, {row['ratio']:.2f}x"),
            "Fastest and slowest round in milliseconds, and ratio of the fastest rounds:",
            by_size(
                lambda row: (
                    f"{1000 * row['fastest_s']:.0f} to {1000 * row['slowest_s']:.0f}, {row['ratio_of_fastest']:.2f}x"
                )
            ),
            (
                "Errors relative to transformers float32 with parity weights: the largest, as a fraction of the range, "
                "and the mean relative error:"
            ),
            by_size(error("error")),
            "The same with initial weights:",
            by_size(error("error_initial")),
        ]
    )


def memory_table(report: dict[str, Any]) -> str:
    """Return the table of peak memory."""
    rows = [
        [size, runner, f"{row['peak_bytes'] / 1e9:.2f} GB", f"{row['after_building_bytes'] / 1e9:.2f} GB"]
        for size, measured in report["cases"].items()
        for runner, row in measured["runners"].items()
    ]
    text = (
        "A process that loads the published architecture from a file and predicts one image. OpenVINO and "
        "torch.compile compile the network in this process. At 2144x3840 the reference does not fit: the scores of "
        "its first layer alone take 16.5 GB."
    )
    header = ["size", "", "peak of the process", "peak before the image"]
    return "\n\n".join([text, conditions(report["cases"]), table(header, rows)])


def whole_tables(report: dict[str, Any]) -> str:
    """Return the tables of whole processes: against transformers, and `tiny` against `import torch`."""
    rows, small = [], []
    for case, measured in report["cases"].items():
        for runner, row in measured["runners"].items():
            times = [f"{row['median_s']:.2f}", f"{row['fastest_s']:.2f} to {row['slowest_s']:.2f}"]
            if "longer_s" in row:
                small.append([runner, *times, f"{row['longer_s']:.2f}"])
                continue
            error = row.get("error")
            levels = [f"{error['most_levels']}", f"{error['mean_levels']:.2g}"] if error else ["", ""]
            rows.append([case, runner, *times, f"{row['ratio']:.2f}x", *levels])
    parts = [
        (
            "From the start of a process to its end, alternating: JPEGs of 480x640 to 8-bit PNGs, the published "
            "architecture with random weights. The reference is a script that only calls transformers' "
            '`pipeline("depth-estimation")`. The last columns are the largest and the mean difference from the '
            "script's images, in gray levels of 255. In bfloat16 this difference depends on the weights far more than "
            "on the program."
        ),
        conditions(report["cases"]),
    ]
    if rows:
        header = ["", "", "median, s", "fastest to slowest", "ratio", "largest difference", "mean difference"]
        parts.append(table(header, rows))
    if small:
        parts += [
            "The bundled `tiny` on an image of 640x480, against a Python process that only imports torch:",
            table(["", "median, s", "fastest to slowest", "difference, s"], small),
        ]
    return "\n\n".join(parts)


def busy_table(report: dict[str, Any]) -> str:
    """Return the table of runs beside another process."""
    rows = [
        [
            case,
            precision,
            f"{row['idle_s']:.2f}",
            f"{row['busy_s']:.2f}",
            f"{row['fastest_busy_s']:.2f} to {row['slowest_busy_s']:.2f}",
            f"{row['ratio']:.2f}x",
        ]
        for case, measured in report["cases"].items()
        for precision, row in measured["precisions"].items()
    ]
    return "\n\n".join(
        [
            (
                "Whole processes with the published architecture on images of 480x640, while another process keeps one "
                "core busy."
            ),
            conditions(report["cases"]),
            table(["", "precision", "idle, s", "busy, s", "fastest to slowest", "busy to idle"], rows),
        ]
    )


def growth_tables(report: dict[str, Any], plot: str) -> str:
    """Return the plot and the tables of its values."""
    parts = [
        (
            "Whole processes: one image with the published architecture at native resolution, and folders of 640x480 "
            "images with the bundled `tiny`. Memory is the peak resident memory of the process."
        ),
        conditions(report["cases"]),
        f"![Time and memory over the pixels of an image and over the images in a folder]({plot})",
    ]
    pixels, folder = report["cases"].get("pixels"), report["cases"].get("folder")
    if pixels:
        rows = [
            [
                f"{row['height']}x{row['width']}",
                f"{row['height'] * row['width'] / 1e6:.1f}",
                precision,
                f"{row['seconds']:.1f}",
                f"{row['peak_bytes'] / 1e9:.2f}",
            ]
            for precision, measured in pixels["precisions"].items()
            for row in measured
        ]
        parts.append(table(["size", "megapixels", "precision", "time, s", "memory, GB"], rows))
    if folder:
        rows = [
            [str(row["images"]), f"{row['seconds']:.1f}", f"{row['peak_bytes'] / 1e9:.2f}"] for row in folder["folders"]
        ]
        parts.append(table(["images", "time, s", "memory, GB"], rows))
    return "\n\n".join(parts)


def gpu_tables(report: dict[str, Any]) -> str:
    """Return the table of a GPU, and the reasons of the runners that failed."""
    cases = report["cases"]
    rows, failures = [], []
    for case, measured in cases.items():
        for runner, row in measured["runners"].items():
            if "failed" in row:
                failures.append(f"{case}, {runner}: {row['failed']}")
                continue
            ratios = [row["ratio to transformers"], row["ratio to transformers compiled"]]
            rows.append(
                [
                    case,
                    runner + (" (no graph)" if row.get("graph") is False else ""),
                    f"{1000 * row['median_s']:.1f}",
                    f"{1000 * row['fastest_s']:.1f} to {1000 * row['slowest_s']:.1f}",
                    f"{row['images_per_s']:.1f}",
                    *(f"{ratio:.2f}x" if ratio else "" for ratio in ratios),
                    f"{row['error']['mean_relative']:.1e}",
                    f"{row['error']['max_of_range']:.1e}",
                    f"{row['operations_per_s'] / 1e12:.2f}",
                    f"{100 * row['share_of_peak']:.0f} %",
                    f"{row['peak_bytes'] / 1e9:.2f}" if row["peak_bytes"] is not None else "",
                ]
            )
    header = ["", "", "median, ms", "fastest to slowest", "images/s", "vs eager", "vs compiled"]
    header += ["mean relative error", "max of range", "TFLOP/s", "of peak", "memory, GB"]
    sizes = sorted({f"{measured['config']} architecture at {measured['size']}" for measured in cases.values()})
    peaks = "; ".join(
        f"{case}: " + ", ".join(f"{peak / 1e12:.1f} TFLOP/s in {name}" for name, peak in measured["gemm_peaks"].items())
        for case, measured in cases.items()
    )
    modes = sorted({measured["compile_mode"] for measured in cases.values()})
    parts = [
        (
            f"The {', '.join(sizes)}, random weights, the whole batch in one pass, TF32 off. Speed-ups are relative to "
            f'transformers in the same precision, eager and with `torch.compile` ("{", ".join(modes)}"). Errors are '
            "relative to eager float32. TFLOP/s are the operations of the reference divided by the time, even if the "
            "engine needs fewer. The peak is what large matrix products reach on the same GPU. Memory is "
            "that of the weights and one pass."
        ),
        conditions(cases),
        f"Peak of matrix products: {peaks}.",
        table(header, rows),
    ]
    if failures:
        parts.append("Not measured: " + "; ".join(failures) + ".")
    return "\n\n".join(parts)


def gpu_batch_table(report: dict[str, Any]) -> str:
    """Return the table of batches on a GPU."""
    rows = [
        [
            case,
            precision,
            f"{row['median_s']:.1f}",
            f"{row['fastest_s']:.1f} to {row['slowest_s']:.1f}",
            f"{row['images_per_s']:.1f}",
            f"{100 * row['busy_share']:.0f} %" if row["busy_share"] is not None else "",
        ]
        for case, measured in report["cases"].items()
        for precision, row in measured["precisions"].items()
    ]
    return "\n\n".join(
        [
            (
                "`glpn batch` of JPEGs of 480x640 with the published architecture, whole processes. The busy share of "
                "the card counts from the first to the last pass."
            ),
            conditions(report["cases"]),
            table(["", "precision", "median, s", "fastest to slowest", "images/s", "card busy"], rows),
        ]
    )


def scale_tables(report: dict[str, Any]) -> str:
    """Return the tables of several processes, and of the process that starts them."""
    cases = report["cases"]
    parts = [
        (
            "`glpn batch` in several processes on the CPU, with one thread for each network, alternating: JPEGs of "
            "480x640 to 8-bit PNGs. Times are the fastest of all rounds. Reading and writing have threads of their "
            "own, so one worker uses more than one core, unless it is held to one."
        ),
        conditions(cases),
    ]
    rows, ratios = [], []
    for case, measured in cases.items():
        if case == "driver":
            continue
        for name, row in measured["runs"].items():
            if name == "ratios":
                ratios += [[case, ratio, f"{value:.2f}"] for ratio, value in row.items()]
                continue
            per_image_ms = 1000 * row["run_s"] / max(1, measured["images"] - 1)
            cpu_s = row["driver_cpu_s"] + row["workers_cpu_s"]
            times = [f"{row['wall_s']:.1f}", f"{row['start_s']:.1f}", f"{per_image_ms:.1f}", f"{cpu_s:.1f}"]
            rows.append([f"{case}, {measured['images']} images", name, *times])
    if rows:
        parts.append(table(["", "", "s", "to the first image, s", "then ms per image", "CPU, s"], rows))
        parts.append(table(["", "", "ratio or value"], ratios))
    if "driver" in cases:
        measured = cases["driver"]
        rows = [
            [
                name,
                f"{row['plan_cpu_s']:.1f}",
                f"{1000 * row['cpu_s'] / measured['images']:.3f}",
                f"{row['peak_bytes'] / 1e6:.0f}",
            ]
            for name, row in measured["runs"].items()
        ]
        parts.append(
            f"The process that starts the others, with {measured['images']:,} images in folders of 1,000, in one "
            "folder, or done by an earlier run; nothing is read or computed:"
        )
        parts.append(table(["", "CPU of planning, s", "all CPU per image, ms", "peak memory, MB"], rows))
    return "\n\n".join(parts)
