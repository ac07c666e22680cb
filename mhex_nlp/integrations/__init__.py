# SPDX-License-Identifier: Apache-2.0
"""mhex_nlp inside other libraries. `mhex_nlp.integrations.spacy`: the pipeline component, and Docs of explanations."""
