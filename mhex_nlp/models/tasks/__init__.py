# SPDX-License-Identifier: Apache-2.0
"""What one output of a model is: its labels, their checks, its problem type."""
