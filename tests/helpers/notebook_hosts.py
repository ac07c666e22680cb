# SPDX-License-Identifier: Apache-2.0
"""Hosts of notebook output: pages with style sheets of their own around a fragment of ours."""

from __future__ import annotations

from collections.abc import Sequence

EVERYTHING = """
* { float: left; text-align: right; text-transform: uppercase; letter-spacing: 3px; margin: 7px; }
dt, dd, table, td, th, ul, li, p, div { width: 20%; float: left; text-align: right; border: 3px solid red; }
dl { overflow: hidden; } dt { font-weight: bold; clear: both; } bdi, span, b, i { display: block; color: red; }
details > * { display: none; } summary { list-style: none; } summary::-webkit-details-marker { display: none; }
.host svg { width: 20px; height: 20px; float: right; fill: red; } .host path, .host g { stroke: red; fill: lime; }
.host svg text { font-size: 40px; text-anchor: end; }
*::before, p::after { content: "*"; } style { display: block; }
#host dl dt, #host table td { float: left; width: 20%; text-align: right; }
"""
BOOTSTRAP = """
*, ::after, ::before { box-sizing: border-box; } html { font-size: 10px; }
body { font: 14px/1.4 Georgia, serif; color: #333; }
p { margin: 0 0 10px; } ul { margin-bottom: 10px; padding-left: 2rem; } dl { margin: 0 0 20px; }
dt { font-weight: 700; }
dd { margin-left: 0; margin-bottom: .5rem; } dt, dd { line-height: 1.43; } summary { display: block; }
.dl-horizontal dt, dl > div > dt { float: left; width: 160px; clear: left; text-align: right; overflow: hidden;
  white-space: nowrap; }
table { caption-side: bottom; background: transparent; border-spacing: 0; } th { text-align: left; }
.host table > thead > tr > th, .host table > tbody > tr > td { padding: 8px; line-height: 1.43; vertical-align: top;
  border-top: 1px solid #ddd; }
.host table > tbody > tr:nth-of-type(odd) { background: #f9f9f9; } svg, img { vertical-align: middle; }
small, .small { font-size: 85%; } .h { font-size: 40px; } .m { margin: 3rem; } .c { color: red; }
.t { position: absolute; }
"""
GITHUB = """
.markdown-body { font: 16px/1.5 sans-serif; word-wrap: break-word; }
.markdown-body table { display: block; width: max-content; max-width: 100%; overflow: auto;
  font-variant: tabular-nums; }
.markdown-body table tr { background: #fff; border-top: 1px solid #d1d9e0; }
.markdown-body table tr:nth-child(2n) { background: #f6f8fa; }
.markdown-body table th, .markdown-body table td { padding: 6px 13px; border: 1px solid #d1d9e0; }
.markdown-body table th { font-weight: 600; }
.markdown-body dl { padding: 0; }
.markdown-body dl dt { padding: 0; margin-top: 16px; font-size: 1em; font-style: italic; font-weight: 600; }
.markdown-body dl dd { padding: 0 16px; margin-bottom: 16px; }
.markdown-body p, .markdown-body ul, .markdown-body dl, .markdown-body table, .markdown-body details { margin-top: 0;
  margin-bottom: 16px; }
.markdown-body ul { padding-left: 2em; list-style: disc; } .markdown-body li + li { margin-top: .25em; }
.markdown-body summary { display: list-item; } .markdown-body b { font-weight: 600; }
"""
VSCODE = """
body { font: 13px/22px "Segoe WPC", sans-serif; color: #ccc; white-space: pre-wrap; word-break: break-all; }
#container .output { white-space: pre; text-align: center; user-select: text; }
#container table { border-collapse: collapse; border-spacing: 0; }
#container table th, #container table td { border: 1px solid; }
#container table, #container thead, #container tr, #container th, #container td { text-align: right; }
#container table > thead > tr > th { text-align: left; border-bottom: 1px solid; }
#container table > tbody > tr > td, #container th { padding: 5px 10px; }
#container tbody tr + tr > td { border-top: 1px solid; }
#container svg { max-height: 20px; } #container ul { padding-inline-start: 40px; }
"""
COLAB = """
body { font: 14px/1.4 Roboto, sans-serif; white-space: pre-wrap; }
.output_subarea { overflow-x: auto; color: red; font-style: italic; }
.rendered_html table { margin-left: auto; border: none; font-size: 12px; table-layout: fixed; }
.rendered_html thead { border-bottom: 1px solid black; }
.rendered_html tr, .rendered_html th, .rendered_html td { text-align: right; vertical-align: middle; padding: .5em;
  line-height: normal; white-space: normal; max-width: none; border: none; }
.rendered_html tbody tr:nth-child(odd) { background: #f5f5f5; } .rendered_html * + ul { margin-top: 1em; }
.rendered_html * + table, .rendered_html * + p { margin-top: 1em; }
.rendered_html ul { list-style: disc; margin: 0 2em; padding-left: 0; }
"""

# By name: the style sheet, and what stands around the output.
IMITATED = {
    "everything": (EVERYTHING, "<div id=host class=host>{}</div>"),
    "bootstrap": (BOOTSTRAP, "<div class=host>{}</div>"),
    "github": (GITHUB, "<article class=markdown-body dir=rtl>{}</article>"),
    "vscode": (VSCODE, "<div id=container><div class=output>{}</div></div>"),
    "colab": (COLAB, "<div class='output_subarea output_html rendered_html'>{}</div>"),
}


def imitated(host: str, fragment: str, theme: str = "light") -> str:
    """`fragment` in a page with the rules of a kind of host; `theme` as VS Code and Colab mark it."""
    sheet, around = IMITATED[host]
    mark = {"vscode": f"class=vscode-{theme}", "colab": f"theme={theme}"}.get(host, "")
    page = f"<!doctype html><meta charset=utf-8><style>{sheet}</style><body {mark}>"
    return page + around.format(fragment)


def converted(fragments: Sequence[str], template: str, theme: str) -> str:
    """A notebook that displays `fragments`, as nbconvert writes it: with the style sheet of JupyterLab, or of the
    classic notebook. ImportError without nbconvert.
    """
    from nbconvert.exporters import HTMLExporter
    from nbformat.v4 import new_code_cell, new_notebook, new_output

    outputs = [new_output("display_data", {"text/html": fragment, "text/plain": ""}) for fragment in fragments]
    notebook = new_notebook(cells=[new_code_cell("explanation", outputs=outputs)])
    html, _ = HTMLExporter(template_name=template, theme=theme).from_notebook_node(notebook)
    return str(html)


# Draws a fragment of the page again in a frame that has no style sheet but the fragment's own, as wide as it is here,
# and gives what differs: the place and size of every element within the fragment, and the computed style, whole, of the
# first three of each kind.
DIFFERENCES = """async ([index, fragment, mark]) => {
  const here = document.querySelectorAll(".mhex")[index];
  const frame = document.createElement("iframe");
  document.body.append(frame);
  frame.setAttribute("style", "all: initial; border: 0; height: 3000px; width: 100vw");
  const width = here.getBoundingClientRect().width;
  const drawn = new Promise((done) => { frame.onload = done; });
  const page = `<!doctype html><html lang="${document.documentElement.lang}" ${mark}><meta charset=utf-8>`;
  frame.srcdoc = `${page}<div style="width: ${width}px">${fragment}</div>`;
  await drawn;
  const there = frame.contentDocument.querySelector(".mhex");
  for (const details of document.querySelectorAll(".mhex details")) details.open = true;
  for (const details of there.querySelectorAll("details")) details.open = true;
  const box = (element, root) => {
    const from = root.getBoundingClientRect(), at = element.getBoundingClientRect();
    return at.width || at.height ? [at.x - from.x, at.y - from.y, at.width, at.height] : [0, 0, 0, 0];
  };
  const kind = (element) => `${element.tagName} ${element.getAttribute("class") ?? ""}`;
  const counts = {}, differences = [];
  const others = [there, ...there.querySelectorAll("*")];
  for (const [at, element] of [here, ...here.querySelectorAll("*")].entries()) {
    const name = `${kind(element.parentElement)} > ${kind(element)}`;
    const boxes = [box(element, here), box(others[at], there)];
    if (boxes[0].some((value, at) => Math.abs(value - boxes[1][at]) > 0.6)) {
      differences.push(`${name}: ${boxes.join(" not ")}`);
    }
    counts[name] = (counts[name] ?? 0) + 1;
    if (counts[name] > 3) continue;
    for (const pseudo of [null, "::before", "::after", "::marker"]) {
      const style = getComputedStyle(element, pseudo);
      const plain = frame.contentWindow.getComputedStyle(others[at], pseudo);
      if (pseudo && style.content === plain.content && ["none", "normal"].includes(style.content)) continue;
      for (const property of style) {
        if (SIZES.test(property)) continue; // measured above, or a variable
        const values = [style.getPropertyValue(property), plain.getPropertyValue(property)];
        if (values[0] !== values[1]) differences.push(`${name} ${pseudo ?? ""} ${property}: ${values.join(" not ")}`);
      }
    }
  }
  frame.remove();
  return differences;
}""".replace("SIZES", "/^(--|width$|height$|inline-size$|block-size$|perspective-origin$|transform-origin$)/")

# Words of labels and headings that are broken within themselves: drawn on more than one line.
BROKEN = """() => [...document.querySelectorAll(".mhex :is(dt, dd, th, summary, .m)")].flatMap((element) => {
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT), broken = [];
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    for (const { 0: word, index } of node.data.matchAll(/[^\\s-]+/g)) {
      const range = document.createRange();
      range.setStart(node, index);
      range.setEnd(node, index + word.length);
      if (new Set([...range.getClientRects()].map((box) => box.top)).size > 1) broken.push(word);
    }
  }
  return broken;
})"""
