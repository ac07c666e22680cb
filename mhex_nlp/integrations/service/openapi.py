# SPDX-License-Identifier: Apache-2.0
"""The description of the service for programs (OpenAPI 3.1), with examples."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from ...explain.json_form import explanation_schema

_SCHEMAS = "#/components/schemas/"
_TEXTS: dict[str, Any] = {"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
_CLASS: dict[str, Any] = {"oneOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}]}
_REQUEST: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["text"],
    "properties": {
        "text": {**_TEXTS, "description": "One text, or several."},
        "text_pair": {**_TEXTS, "description": "The second half of a pair, or one for each text."},
        "target": {**_CLASS, "description": "The class explained, by name or number; by default the predicted one."},
        "foil": {**_CLASS, "description": "A class to compare with."},
        "budget": {
            "oneOf": [{"type": "integer", "minimum": 0, "multipleOf": 2}, {"const": "auto"}],
            "description": "Further passes over each text that refine the scores.",
        },
    },
}
_EXAMPLES: dict[str, Any] = {
    "one text": {"value": {"text": "The soup was cold, but the staff were lovely."}},
    "several": {"value": {"text": ["The soup was cold.", "The staff were lovely."]}},
    "a pair": {"value": {"text": "Who wrote it?", "text_pair": "It was written in 1925."}},
    "why this and not that": {"value": {"text": "The soup was cold.", "target": "negative", "foil": "positive"}},
    "refined": {"value": {"text": "The soup was cold.", "budget": 16}},
}
_ANSWER: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["model", "predictions"],
    "properties": {
        "model": {
            "type": "object",
            "additionalProperties": False,
            "required": ["name", "revision"],
            "properties": {"name": {"type": "string"}, "revision": {"type": ["string", "null"]}},
        },
        "predictions": {
            "type": "array",
            "items": {"$ref": f"{_SCHEMAS}Prediction"},
            "description": "What is predicted for each text.",
        },
        "explanations": {
            "type": "array",
            "description": "With explain=true why, for each text; a list where every predicted label is explained.",
            "items": {
                "oneOf": [
                    {"$ref": f"{_SCHEMAS}Explanation"},
                    {"type": "array", "items": {"$ref": f"{_SCHEMAS}Explanation"}},
                ]
            },
        },
    },
}
_ERROR: dict[str, Any] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {
                "code": {"type": "string", "description": "For programs."},
                "message": {"type": "string", "description": "One sentence for people."},
            },
        }
    },
}
_REFUSALS = {
    400: "The body is no JSON.",
    406: "Accept takes neither JSON nor HTML.",
    408: "The request did not come in time.",
    413: "The body, a text, or the number of texts is beyond the limits.",
    415: "Content-Type is not application/json.",
    422: "A wrong type, an unknown key or class, an empty text, a budget out of range.",
    429: "Too many texts wait for the model: try again later.",
    503: "The service is stopping.",
    504: "There was no answer in time.",
}
# what `FastAPI.post` takes of the path
PREDICT: dict[str, Any] = {
    "summary": "Predict, and explain",
    "responses": {
        200: {
            "description": "What is predicted, and why. HTML, where Accept prefers it, is a page of the explanations.",
            "content": {
                "application/json": {"schema": {"$ref": f"{_SCHEMAS}Answer"}},
                "text/html": {"schema": {"type": "string"}},
            },
        },
        **{
            status: {"description": sentence, "content": {"application/json": {"schema": {"$ref": f"{_SCHEMAS}Error"}}}}
            for status, sentence in _REFUSALS.items()
        },
    },
    "openapi_extra": {
        "parameters": [
            {
                "name": "explain",
                "in": "query",
                "schema": {"type": "boolean", "default": False},
                "description": "Whether to explain the predictions.",
            }
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": f"{_SCHEMAS}Request"}, "examples": _EXAMPLES}},
        },
    },
}


def describe(app: FastAPI) -> None:
    """Gives an application's description the schemas that `PREDICT` names."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        description = plain()
        description.setdefault("components", {}).setdefault("schemas", {}).update(_schemas())
        return description

    app.openapi = openapi  # type: ignore[method-assign]


def _schemas() -> dict[str, Any]:
    """Those of request and answer, and the shipped one of explanations, whose parts become schemas of their own."""
    explanation = _renamed({key: value for key, value in explanation_schema().items() if key not in ("$schema", "$id")})
    parts = {_part(name): schema for name, schema in explanation.pop("$defs").items()}
    prediction = parts[_part("prediction")]
    cut = {"type": "boolean", "description": "Present and true where the end of the text was cut off."}
    return {
        **parts,
        "Explanation": explanation,
        "Prediction": {**prediction, "properties": {**prediction["properties"], "truncated": cut}},
        "Request": _REQUEST,
        "Answer": _ANSWER,
        "Error": _ERROR,
    }


def _part(name: str) -> str:
    return f"Explanation.{name}"


def _renamed(value: Any) -> Any:
    """A schema whose references lead to the components of a description."""
    if isinstance(value, list):
        return [_renamed(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: item.replace("#/$defs/", f"{_SCHEMAS}{_part('')}") if key == "$ref" else _renamed(item)
        for key, item in value.items()
    }
