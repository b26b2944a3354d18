#pragma once

#include <CLI/CLI.hpp>

namespace attune {

/// `attune model export-prompts`: a learned concept as files that other programs take.
void add_export_prompts(CLI::App& model);

}  // namespace attune
