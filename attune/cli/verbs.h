#pragma once

#include <CLI/CLI.hpp>

namespace attune {

// One function a verb: adds its options, and runs it when it was chosen.
void add_train(CLI::App& app);
void add_eval(CLI::App& app);
void add_study(CLI::App& app);
void add_predict(CLI::App& app);
void add_detect(CLI::App& app);
void add_generate(CLI::App& app);
void add_embed(CLI::App& app);
void add_report(CLI::App& app);
void add_explain(CLI::App& app);
void add_describe(CLI::App& app);
void add_data(CLI::App& app);
void add_model(CLI::App& app);
void add_pretrain(CLI::App& app);
void add_bench(CLI::App& app);

/// All of them, in the order of the help.
void add_verbs(CLI::App& app);

}  // namespace attune
