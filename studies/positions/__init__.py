# SPDX-License-Identifier: Apache-2.0
"""What it costs, and what it tells, to explain labels at positions."""
