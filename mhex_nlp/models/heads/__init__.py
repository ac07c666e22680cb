# SPDX-License-Identifier: Apache-2.0
"""The heads themselves, in plain torch: gate, evidence, fitted matrices, attention flow, losses."""
