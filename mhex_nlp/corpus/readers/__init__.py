# SPDX-License-Identifier: Apache-2.0
"""The rows of a source, one after the other and each exactly once."""
