#include "attune/cli/export_prompts.h"

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/cli/checks.h"
#include "attune/cli/common.h"
#include "attune/methods/adapter.h"
#include "attune/tasks/learned_word.h"

namespace attune {
namespace {

struct ExportOptions {
  Common common;
  std::string adapter, format, placeholder, out;
};

/// What an adapter of a generation learned under a name, [n, w].
Tensor learned_rows(const std::string& adapter, const std::string& name, const std::string& format) {
  const AdapterInfo info = read_adapter_info(adapter);
  const TensorMap tensors = read_adapter_tensors(adapter);
  const auto found = tensors.find(name);
  if (json_or<std::string>(info.config, "task", "classification", adapter) != "generation" || found == tensors.end() ||
      found->second.dim() != 2) {
    throw UsageError(fmt::format("--format {}: expected an adapter of a generation with '{}', found one of {}", format,
                                 name, info.method));
  }
  return found->second.to(at::kFloat);
}

void expect_written(bool same, const std::string& out) {
  if (!same) throw Error(fmt::format("{}: expected to read back what was written", out));
}

void run_export(const ExportOptions& options) {
  prepare(options.common);
  Tensor rows;
  if (options.format == "prompt-embeds") {
    rows = learned_rows(options.adapter, "embeddings", options.format);
    write_prompt_embeddings(options.out, rows);
    expect_written(read_prompt_embeddings(options.out).equal(rows), options.out);
  } else {
    rows = learned_rows(options.adapter, "token", options.format);
    write_learned_word(options.out, {options.placeholder, rows}, word_layout_named(options.format));
    expect_written(read_learned_word(options.out).rows.equal(rows), options.out);
  }
  if (options.common.json) {
    print_json({{"path", options.out}, {"format", options.format}, {"shape", {rows.size(0), rows.size(1)}}});
  }
  say(options.common,
      fmt::format("{}: {} rows of {}, read back and compared", options.out, rows.size(0), rows.size(1)));
}

}  // namespace

void add_export_prompts(CLI::App& model) {
  auto options = std::make_shared<ExportOptions>();
  CLI::App* verb = model.add_subcommand(
      "export-prompts", "Writes a learned concept as a file that other programs for diffusion models load");
  verb->add_option("--adapter", options->adapter, "folder of a learned concept, from attune train --task generation")
      ->required();
  verb->add_option("--format", options->format,
                   "of textual inversion: diffusers or a1111; of cones and dreambooth: prompt-embeds")
      ->check(among({"diffusers", "a1111", "prompt-embeds"}))
      ->required();
  verb->add_option("--placeholder", options->placeholder, "the word that stands for the concept in a prompt")
      ->default_val("<concept>");
  verb->add_option("--out", options->out, "safetensors file; for a1111 its name is the word")->required();
  add_common(*verb, options->common);
  verb->callback([options] { run_export(*options); });
}

}  // namespace attune
