"""Lay what was measured out as the tables of docs/performance.md."""

from __future__ import annotations

from typing import Any


def circumstances(cases: dict[str, Any]) -> str:
    """Say on what and with what cases were measured; machines that differ, or days, have a paragraph each."""
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
        f"{describe(here)} Load of the machine before and after: {'; '.join(loads)}." for here, loads in machines
    )


def describe(machine: dict[str, Any]) -> str:
    """Name a machine and the versions on it."""
    versions = ", ".join(
        f"{name} {machine[name]}" for name in ("torch", "transformers", "openvino") if machine.get(name)
    )
    cores = ", ".join([f"{machine['cores']} cores", *machine["extensions"]])
    cpu = f"{machine['cpu']} ({cores})"
    card = machine.get("card")
    if card and "cuda" in card:
        gigabytes = f"{card['memory_bytes'] / 1e9:.0f} GB"
        cpu = f"{card['name']} ({gigabytes}, CUDA {card['cuda']}, cuDNN {card['cudnn']}) beside {cpu}"
    return (
        f"{machine['date']}, {cpu}, {machine['threads']} threads, {machine['system']}, Python {machine['python']}, "
        f"{versions}."
    )


def table(header: list[str], rows: list[list[str]]) -> str:
    """Lay a Markdown table out."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def speed_tables(report: dict[str, Any]) -> str:
    """Give the ratios and the errors."""
    rows, errors = [], []
    for case, measured in report["cases"].items():
        for runner, row in measured["runners"].items():
            spread = f"{1000 * row['fastest_s']:.0f} to {1000 * row['slowest_s']:.0f}"
            ratios = [f"{row['ratio']:.2f}x", f"{row['ratio_of_fastest']:.2f}x"]
            rows.append([case, runner, f"{1000 * row['median_s']:.0f}", spread, *ratios])
            if runner != "transformers float32":
                initial = row.get("error_initial")
                errors.append(
                    [
                        case,
                        runner,
                        f"{row['error']['max_of_range']:.1e}",
                        f"{row['error']['mean_relative']:.1e}",
                        f"{initial['max_of_range']:.1e}" if initial else "",
                        f"{initial['mean_relative']:.1e}" if initial else "",
                    ]
                )
    return "\n\n".join(
        [
            circumstances(report["cases"]),
            table(["size", "", "median, ms", "fastest to slowest", "ratio", "ratio of the fastest"], rows),
            "Errors against transformers float32, with two kinds of random weights:",
            table(
                ["size", "", "parity: max of range", "mean relative", "initial: max of range", "mean relative"], errors
            ),
        ]
    )


def memory_table(report: dict[str, Any]) -> str:
    """Give the peaks."""
    rows = [
        [size, precision, f"{row['peak_bytes'] / 1e9:.2f} GB", f"{row['after_building_bytes'] / 1e9:.2f} GB"]
        for size, measured in report["cases"].items()
        for precision, row in measured["precisions"].items()
    ]
    return "\n\n".join(
        [
            "A process that loads the published architecture from a file and predicts one picture.",
            circumstances(report["cases"]),
            table(["size", "precision", "peak of the process", "of that before the picture"], rows),
        ]
    )


def whole_tables(report: dict[str, Any]) -> str:
    """Give whole processes beside each other, and the small one beside `import torch`."""
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
            "From the start of a process to its end, in turn: JPEGs of 480x640, the published architecture with random "
            'weights, 8-bit PNGs. The script calls transformers\' `pipeline("depth-estimation")`, no more. '
            "On the right, by how many of the 255 grey levels the pictures differ from the script's; in "
            "bfloat16 that depends on the weights far more than on the program."
        ),
        circumstances(report["cases"]),
    ]
    if rows:
        header = ["", "", "median, s", "fastest to slowest", "ratio", "most levels", "mean levels"]
        parts.append(table(header, rows))
    if small:
        parts += [
            "The bundled `tiny` on a photo of 640x480, beside a Python that only imports torch:",
            table(["", "median, s", "fastest to slowest", "longer by, s"], small),
        ]
    return "\n\n".join(parts)


def growth_tables(report: dict[str, Any], picture: str) -> str:
    """Give the picture, and its numbers."""
    parts = [
        (
            "Whole processes: one picture with the published architecture at its own size, and folders of 640x480 with "
            "the bundled `tiny`. Memory is the most that the process had in use at once."
        ),
        circumstances(report["cases"]),
        f"![Time and memory over the pixels of a picture and over the pictures of a folder]({picture})",
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
            [str(row["pictures"]), f"{row['seconds']:.1f}", f"{row['peak_bytes'] / 1e9:.2f}"]
            for row in folder["folders"]
        ]
        parts.append(table(["pictures", "time, s", "memory, GB"], rows))
    return "\n\n".join(parts)


def gpu_tables(report: dict[str, Any]) -> str:
    """Give what a card reaches; runners that failed have the reason in place of the numbers."""
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
                    f"{row['pictures_per_s']:.1f}",
                    *(f"{ratio:.2f}x" if ratio else "" for ratio in ratios),
                    f"{row['error']['mean_relative']:.1e}",
                    f"{row['error']['max_of_range']:.1e}",
                    f"{row['operations_per_s'] / 1e12:.2f}",
                    f"{100 * row['share_of_peak']:.0f} %",
                    f"{row['peak_bytes'] / 1e9:.2f}" if row["peak_bytes"] is not None else "",
                ]
            )
    header = ["", "", "median, ms", "fastest to slowest", "pictures/s", "to eager", "to compiled"]
    header += ["mean relative error", "max of range", "TFLOP/s", "of the peak", "memory, GB"]
    sizes = sorted({f"{measured['config']} architecture at {measured['size']}" for measured in cases.values()})
    peaks = "; ".join(
        f"{case}: " + ", ".join(f"{peak / 1e12:.1f} TFLOP/s in {name}" for name, peak in measured["gemm_peaks"].items())
        for case, measured in cases.items()
    )
    modes = sorted({measured["compile_mode"] for measured in cases.values()})
    parts = [
        (
            f"The {', '.join(sizes)}, random weights, a batch in one pass, TF32 off. Ratios are to transformers in the "
            f'same precision, eager and compiled by `torch.compile` ("{", ".join(modes)}"); errors are against eager '
            "float32. TFLOP/s are the multiplications and additions of the reference by the time, also where the "
            "engine needs fewer; the peak is what large products of matrices reach on the same card. Memory is what "
            "weights and a pass take."
        ),
        circumstances(cases),
        f"The peak, {peaks}.",
        table(header, rows),
    ]
    if failures:
        parts.append("Not measured: " + "; ".join(failures) + ".")
    return "\n\n".join(parts)
