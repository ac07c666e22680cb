# SPDX-License-Identifier: Apache-2.0
"""Strings that break pages which trust what they show: markup, attributes, CSS, scripts, directions, sizes, names."""

from __future__ import annotations

import re
from itertools import chain, product

from helpers.html import shown

# What closes the markup around a value.
ENDS = [
    "",
    '"',
    "'",
    "`",
    ">",
    '">',
    "'>",
    "</script>",
    "</SCRIPT\n>",
    "</style>",
    "</title>",
    "</textarea>",
    "</select></option>",
    "</bdi></p></article></main>",
    "</table></td></th>",
    "</svg></title></math>",
    "-->",
    "--!>",
    "]]>",
    "*/",
    '\\"',
    "\\u003c/script\\u003e",
    "&quot;&gt;",
    "}}%}",
]
# What acts once it stands outside of that markup.
DEEDS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    " onmouseover=alert(1) autofocus onfocus=alert(1) tabindex=0 x=",
    "<style>*{position:fixed;inset:0}</style>",
    "{{ 7 * 7 }}{% include 'base.html.j2' %}",
    "javascript:alert(1)",
    "<!--",
]
CLOSED_AND_ACTING = [end + deed for end, deed in product(ENDS, DEEDS)]

MARKUP = [
    "<iframe src=\"javascript:alert(1)\" srcdoc='<script>alert(1)</script>'></iframe>",
    '<a href="javascript:alert(1)" ping="https://example.org/">x</a>',
    '<base href="https://example.org/"><meta http-equiv="refresh" content="0;url=https://example.org/">',
    '<link rel="stylesheet" href="https://example.org/x.css"><link rel=preload as=script href=https://example.org/x.js>',
    "<form action=https://example.org/ id=filter><input name=gold autofocus onfocus=alert(1)><button>x</button></form>",
    '<div id="data">{"pages":[],"words":[],"rows":[]}</div><ol id=rows></ol><section id=texts></section>',
    "<math><mtext></table><mglyph><style><img src=x onerror=alert(1)></style></mglyph></mtext></math>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'></noscript>",
    "<template><script>alert(1)</script></template><plaintext><xmp><listing>",
    "<details open ontoggle=alert(1)><summary>x</summary></details><dialog open>over all</dialog>",
    "<video><source onerror=alert(1)></video><audio src=x onerror=alert(1)></audio><object data=x></object>",
    "<svg><use href='https://example.org/x.svg#a'/><animate onbegin=alert(1) attributeName=x dur=1s></svg>",
    "<body onload=alert(1)><html manifest=x><!doctype html><?php echo 1 ?><% x %>",
    "<ScRiPt/x>alert(1)</sCrIpT/x><script\x0c>alert(1)</script\x0c>",
    "<<script>script>alert(1)<</script>/script>",
    "<p style='position:fixed;inset:0;background:red'>over all</p>",
    "<h1>not a heading</h1><li><dt><dd><td><th><tr>",
    "<bdo dir=rtl>backwards</bdo><marquee>x</marquee><blink>y</blink>",
    "<slot name=x></slot><x-element is=x></x-element><portal src=x>",
]
ADDRESSES = [
    "java\tscript:alert(1)",
    "\x01javascript:alert(1)",
    "JaVaScRiPt&colon;alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==",
    "vbscript:msgbox(1)",
    "file:///etc/passwd",
    "//example.org/x",
    "https://example.org/x?a=1&b=2#t0",
    "../../x",
    "..\\..\\x",
    "/etc/passwd",
    "%2e%2e%2fx",
    "..",
    ".",
    "~",
    "index.html",
    "con",
    "name?query#part",
    "a%00b",
]
CSS = [
    "}*{display:none}.mhex{",
    "body{display:none} .mhex{display:none} @import url(https://example.org/x.css);",
    "expression(alert(1)); behavior:url(#x); -moz-binding:url(x)",
    "red;position:fixed;inset:0;z-index:9999",
    "w p10",
    "\\3c script\\3e alert(1)",
    "url(https://example.org/x.png) /* never closed",
    "x:hover{background:url(//example.org)}",
]
TEMPLATES = [
    "{{ config }}{{ ''.__class__.__mro__ }}{% for x in range(9) %}x{% endfor %}",
    "{# a remark #}{% raw %}{{ x }}{% endraw %}{%- if",
    "${7*7} #{7*7} <%= 7*7 %> {{{x}}} [[x]] {$x}",
    "{% extends 'x' %}{{ super() }}",
    "%s %d %(x)s %n {0} {x!r} {0.__class__}",
    "[bold red]not markup[/bold red] [link=https://example.org]x[/link] :smile:",
    "`${alert(1)}`",
    "$(document).ready(alert)",
]
ENTITIES = [
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&amp;lt;b&amp;gt; &amp;amp;",
    "&#60;img src=x onerror=alert(1)&#62;",
    "&#x3C;script&#x3E; &#0; &#xD800; &#x110000; &#128;",
    "&notanentity; &not &copy &lt &AMP",
    "&NewLine;&Tab;&lpar;&ZeroWidthSpace;",
    "a & b < c > d \" e ' f ` g = h / i",
    "&",
    "<",
    ">",
    '"',
    "'",
    "`",
    "=",
    "&#13;&#10;",
]
DIRECTIONS = [
    "\u202eright to left override",
    "\u202dleft to right override\u202c\u202c\u202c",
    "\u2067isolate \u2069\u2069\u2069 closed too often \u202a\u202b\u202d",
    "\u2066\u2067\u2068 never closed",
    "\u2068first strong\u2069 \u200e\u200f\u061c marks",
    "\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627 mixed with latin 123 (brackets) \u0661\u0662",
    "\u202e<gpj.exe>\u202c",
    "\u2029\u202e next paragraph",
    "abc \u202etxt.exe\u2069\u202c def",
]
CONTROLS = [
    "nul \x00 bell \x07 escape \x1b[31m\x1b]0;title\x07 c1 \x9b31m del \x7f",
    "\x00",
    "\x00\x00<script>alert(1)</script>\x00",
    "lone \ud800 and \udfff surrogates",
    "\udc00",
    "noncharacters \ufffe\uffff\ufdd0\ufdef\U0001fffe\U0001ffff\U0010ffff",
    "carriage\rreturn\r\nand\x0cfeed\x0bvertical\x85next",
    "line\u2028separator paragraph\u2029separator",
    "\u2028",
    "\r",
    "\t\ttabs\t",
    "\n\n\nlines\n\n",
    "\ufeffbom \ufeff",
    "replacement \ufffd object \ufffc",
    "tags \U000e0001\U000e0041\U000e007f private \ue000 \U000f0000",
    "interlinear \ufff9a\ufffab\ufffb shy\u00ad\u00adx",
]
INVISIBLE = [
    "zero\u200bwidth\u200cnon\u200djoiner\u2060word",
    "\u200b",
    "\u2063\u2062\u2064",
    " ",
    "\u3000\u00a0\u2003",
    "\u115f\u1160\u3164\uffa0",
    "a\u034fb\u180ec",
]
SIZES = [
    "a" * 3000,
    "<" * 800,
    "&amp;" * 300,
    "W\u0334" * 500,
    "\u6f22" * 900,
    "\u0645" * 900,
    "\ufdfd" * 60,
    "\ua9c5" * 40 + "\U0001242b" * 20,
    "-" * 700,
    "\u00a0" * 600,
    ("x" * 90 + "\u00a0") * 12,
    "Z" + "\u0351\u0363\u036a\u0324" * 40 + "algo",
    "tower\u0e49" + "\u0e49" * 120,
    "\u0301" * 80,
    "\u202e" * 300 + "deep",
    "\u2067" * 200 + "deep",
    "\n" * 60,
    "https://example.org/" + "x/" * 500,
]
EMOJI = [
    "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 \U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e"
    "\U000e0067\U000e007f",
    "\U0001f44d\U0001f3ff\U0001f3fb \U0001f1e9\U0001f1ea\U0001f1eb \u2764\ufe0f\u200d\U0001f525 1\ufe0f\u20e3",
    "\u200d\u200d\ufe0f\u20e3\U0001f3fd",
    "\U0001f9d1\u200d" * 60,
]
NAMES = [
    "__proto__",
    "constructor",
    "prototype",
    "toString",
    "hasOwnProperty",
    "valueOf",
    "__defineGetter__",
    "length",
    "null",
    "undefined",
    "NaN",
    "Infinity",
    "true",
    "0",
    "-1",
    "-0",
    "1e309",
    "None",
    "data",
    "rows",
    "gold",
    "any",
    "document",
    "self",
]
JSON = [
    '"}</script><script>alert(1)</script>',
    '","rows":[],"x":"',
    '{"__proto__":{"x":1},"constructor":{"prototype":{"x":1}}}',
    "[1,2,3]];alert(1);//",
    "\\",
    '\\\\"',
    "\\u0000\\ud800\\x3c",
    "*/alert(1)/*",
    "';alert(1);'",
    "//\nalert(1)",
    "<!--<script>",
    "</script",
    "<\\/script>",
    "\u2028alert(1)\u2029",
]

_KINDS = [
    CLOSED_AND_ACTING,
    MARKUP,
    ADDRESSES,
    CSS,
    TEMPLATES,
    ENTITIES,
    DIRECTIONS,
    CONTROLS,
    INVISIBLE,
    SIZES,
    EMOJI,
    NAMES,
    JSON,
]
ATTACK_STRINGS = list(dict.fromkeys(chain.from_iterable(_KINDS)))


def as_value(string: str) -> str:
    """What a page shows of a label, title, id or name: direction controls are U+FFFD as well."""
    return re.sub("[\u202a-\u202e\u2066-\u2069]", "\ufffd", shown(string))
