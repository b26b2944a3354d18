#pragma once

#include <memory>

#include <CLI/CLI.hpp>

namespace attune {

/// How --help looks, the same with the releases of CLI11 up to 2.4: "--name TYPE [default]" and what the option means.
std::shared_ptr<CLI::Formatter> help_formatter();

}  // namespace attune
