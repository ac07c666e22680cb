# SPDX-License-Identifier: Apache-2.0
"""From one forward pass to an Explanation, and the Explanation itself."""
