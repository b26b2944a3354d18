#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "attune/methods/adapter.h"

namespace attune {

/// Prompts that a method's original program learned, ready for save_adapter.
struct ImportedPrompts {
  AdapterInfo info;  // without the version of this program
  std::unique_ptr<Classifier> classifier;
  std::optional<std::int64_t> epoch;  // that the checkpoint says
  /// What the file says otherwise than the caller, and does not forbid the import.
  std::vector<std::string> notes;
};

/// The methods whose checkpoints can be read: coop, kgcoop, prograd, cocoop, maple, vpt, ivlp, deep_text, promptsrc.
const std::vector<std::string>& importable_methods();

/// Reads a checkpoint of the original program (model.pth.tar-N: a dictionary with "state_dict"; a state dictionary
/// alone; or a bare tensor [M, width], as SPG keeps its prompt labels) as data: nothing in it is executed. Lengths,
/// depths and class-specific contexts follow from the tensors; `choice` adds settings that they do not tell, such as
/// context.position. Tensors become fp32. `classes` are those that it was learned on, in their order.
///
/// Throws Error that names the file, and the tensor where one is at fault, for a checkpoint of another method, unknown
/// or missing tensors, shapes that are not the model's, numbers that are not finite, and prompts that were learned for
/// another CLIP; UsageError for a method that cannot be imported.
ImportedPrompts import_prompts(const std::filesystem::path& file, const MethodChoice& choice,
                               std::shared_ptr<const ClipModel> model, const ClassNames& classes);

}  // namespace attune
