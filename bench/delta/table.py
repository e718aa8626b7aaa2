"""Tables of what was measured: a line a pair, geometric means by step and architecture, and every loss by name."""

import math

# RAM of the class of small decoders, in bytes.
SMALL = 16 * 1024
MIB = 1 << 20


def line(row, number, count):
    """One line as soon as a pair is done."""
    sizes = " ".join(f"{name} {one['bytes']}" if "bytes" in one else f"{name} FAILED ({one['error']})"
                     for name, one in row["tools"].items() if name.startswith("ours"))
    best = best_peer(row)
    beside = f"best peer {best[0]} {best[1]}" if best else "no peer"
    also = row.get("independent")
    also = "" if also is None else f" | independent decoder {also.get('error', 'same image')}"
    return f"[{number}/{count}] {row['pair']}: {sizes} | {beside}{also}"


def report(rows, all_tools, recorded, reused):
    """Sums everything up; the whole of it is the JSON."""
    names = [tool.name for tool in all_tools]
    rows = [{**row, "recorded": recorded.get(row["pair"], {})} for row in rows]
    return {
        "pairs": rows,
        "tools": [{"name": tool.name, "version": tool.version, "state_bytes": tool.state_bytes} for tool in all_tools],
        "means": {group: means(of, names) for group, of in groups(rows).items()},
        "losses": [loss for row in rows for loss in losses(row)],
        "peers_reused": reused,
    }


def groups(rows):
    """All pairs, then by step, then by architecture: `mid-toolchain` is mid, `cortex-m0` is cortex."""
    found = {"all": rows}
    for key in ("kind", "arch"):
        for row in rows:
            name = row[key].split("-")[0]
            name = "riscv" if name.startswith("riscv") else name
            found.setdefault(name, []).append(row)
    return found


def means(rows, names):
    """Geometric mean of patch by image, in percent, over the pairs that a tool took; and the best peers'."""
    of = {}
    for name in names:
        of[name] = mean([one["bytes"] / row["new_size"] for row in rows if "bytes" in (one := tool(row, name))])
    small = [best[1] / row["new_size"] for row in rows if (best := best_peer(row, SMALL))]
    every = [best[1] / row["new_size"] for row in rows if (best := best_peer(row))]
    known = [best[1] / row["new_size"] for row in rows if (best := best_of_all(row))]
    return {"pairs": len(rows), "tools": of, "best peer in 16 KiB": mean(small), "best peer": mean(every),
            "best peer or recorded": mean(known)}


def mean(ratios):
    if not ratios:
        return None
    return {"percent": 100 * math.exp(sum(map(math.log, ratios)) / len(ratios)), "pairs": len(ratios)}


def ours(row):
    return {name: one for name, one in row["tools"].items() if name.startswith("ours")}


def tool(row, name):
    return row["tools"].get(name, {})


def best_peer(row, state_max=None):
    """Name and bytes of the smallest patch by a peer, among those whose state is known to be small enough."""
    fits = lambda one: state_max is None or (one["state_bytes"] is not None and one["state_bytes"] <= state_max)
    peers = [(one["bytes"], name) for name, one in row["tools"].items()
             if not name.startswith("ours") and "bytes" in one and fits(one)]
    return min(peers)[::-1] if peers else None


def best_of_all(row):
    """The same, with the recorded figures of tools that are not installed."""
    found = [(size, f"{name} (recorded)") for name, size in row["recorded"].items()]
    if best := best_peer(row):
        found.append(best[::-1])
    return min(found)[::-1] if found else None


def losses(row):
    """Where a patch of ours is larger than the smallest of any tool, whatever RAM that takes."""
    best = best_of_all(row)
    for name, one in ours(row).items():
        if best and one.get("bytes", 0) > best[1]:
            yield {"pair": row["pair"], "ours": name, "bytes": one["bytes"], "tool": best[0], "tool_bytes": best[1],
                   "is_recorded": best[0].endswith("(recorded)")}


def text(report):
    """The tables, for people."""
    return "\n\n".join([pairs_table(report), means_table(report), tools_table(report), losses_table(report),
                        notes(report)])


def pairs_table(report):
    names = list(ours(report["pairs"][0]))
    head = ["PAIR", "NEW B", *(f"{name} B" for name in names), "8k %", "16 KiB PEER", "%", "ANY PEER", "%", "MAKE s",
            "MiB", "x IMAGE", "APPLY s"]
    rows = []
    for row in report["pairs"]:
        cells = [row["pair"], str(row["new_size"])] + [str(tool(row, name).get("bytes", "FAILED")) for name in names]
        share = lambda size: f"{100 * size / row['new_size']:.2f}" if row["new_size"] else "-"
        middle = tool(row, "ours-8k")
        cells.append(share(middle["bytes"]) if "bytes" in middle else "-")
        for best in (best_peer(row, SMALL), best_of_all(row)):
            cells += [best[0], share(best[1])] if best else ["-", "-"]
        peak = middle.get("make_peak_bytes")
        image = max(row["old_size"], row["new_size"], 1)
        cells += [f"{middle['make_s']:.2f}", f"{peak / MIB:.0f}", f"{peak / image:.0f}", f"{middle['apply_s']:.3f}"] \
            if peak else ["-"] * 4
        rows.append(cells)
    return laid_out(head, rows)


def means_table(report):
    groups = report["means"]
    head = ["GEOMETRIC MEAN, %"] + [f"{group} ({of['pairs']})" for group, of in groups.items()]
    names = list(next(iter(groups.values()))["tools"])
    rows = []
    for name in names:
        rows.append([name] + [percent(of["tools"][name], of["pairs"]) for of in groups.values()])
    for name in ("best peer in 16 KiB", "best peer", "best peer or recorded"):
        rows.append([name] + [percent(of[name], of["pairs"]) for of in groups.values()])
    return laid_out(head, rows)


def percent(mean, pairs):
    """A mean over fewer pairs than the group has says over how many."""
    if mean is None:
        return "-"
    of = "" if mean["pairs"] == pairs else f" of {mean['pairs']}"
    return f"{mean['percent']:.2f}{of}"


def tools_table(report):
    head = ["TOOL", "VERSION", "STATE B", "MAKE s, SUM", "APPLY s, SUM", "PEAK MiB", "FAILED"]
    rows = []
    for one in report["tools"]:
        results = [row["tools"][one["name"]] for row in report["pairs"] if one["name"] in row["tools"]]
        done = [result for result in results if "bytes" in result]
        total = lambda key: f"{sum(result[key] for result in done):.1f}"
        peak = max((result["make_peak_bytes"] for result in done), default=0)
        state = "grows" if one["state_bytes"] is None else str(one["state_bytes"])
        rows.append([one["name"], one["version"], state, total("make_s"), total("apply_s"), f"{peak / MIB:.0f}",
                     str(len(results) - len(done))])
    return laid_out(head, rows)


def losses_table(report):
    middle = [loss for loss in report["losses"] if loss["ours"] == "ours-8k"]
    counts = ", ".join(f"{name} {sum(loss['ours'] == name for loss in report['losses'])}"
                       for name in ours(report["pairs"][0]))
    title = f"Pairs where ours is larger than the best tool of any RAM: {counts} of {len(report['pairs'])}"
    rows = [[loss["pair"], str(loss["bytes"]), loss["tool"], str(loss["tool_bytes"]),
             f"{100 * (loss['bytes'] / loss['tool_bytes'] - 1):+.1f} %"] for loss in middle]
    return f"{title}\n{laid_out(['PAIR', 'ours-8k B', 'TOOL', 'B', 'MORE'], rows)}" if rows else title


def notes(report):
    kept = report["peers_reused"]
    lines = [
        "Sizes have every header; every patch was applied and its image compared, ours by the decoder that devices run.",
        "Times are of the processor, one pair at a time. Peak: ours and Debian's commands have all of their process and",
        "at least the bench's own 20 MiB or so; of Python libraries it is what the call added.",
        "State: window and tables of the decoder for peers; for ours everything that applying takes, buffers included.",
        "HDiffPatch's own command is in neither registry: hdiff-* and hpatchlite-* are by the Python package of its code,",
        "which has not all its options. hpatchlite-raw-lzma8k is no tool that ships, but could be put together.",
    ]
    if kept:
        lines.append(f"{kept} figures of peers are of an earlier run (--reuse).")
    return "\n".join(lines)


def laid_out(head, rows):
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    is_text = [column == 0 or not any(ch.isdigit() for ch in row[column][:1]) for column in range(len(head))
               for row in (rows or [head])[:1]]
    place = lambda cell, width, left: cell.ljust(width) if left else cell.rjust(width)
    return "\n".join("  ".join(map(place, row, widths, is_text)).rstrip() for row in [head, *rows])
