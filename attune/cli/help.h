#pragma once

#include <memory>

#include <CLI/CLI.hpp>

namespace attune {

/// How --help looks, the same with every release of CLI11: "--name TYPE [default]" and what the option means.
std::shared_ptr<CLI::Formatter> help_formatter();

}  // namespace attune
