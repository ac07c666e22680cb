# SPDX-License-Identifier: Apache-2.0
"""What each part of its context adds to what a causal language model writes."""
