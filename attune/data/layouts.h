#pragma once

#include <filesystem>
#include <string>

#include "attune/data/dataset.h"

namespace attune {

struct OpenOptions {
  /// Folder of the pictures of a split file, JSON lines or CSV. Empty: looked for, from the file's folder, as CoOp and
  /// SPG lay out their data.
  std::filesystem::path pictures;
  /// Whether every listed picture must exist (a look at each file's entry, not at its content).
  bool check_files = true;
};

/// Opens a dataset by path, or by name ("emoji-dg", "emoji-dg:concepts"). The layout is recognised: a folder with one
/// kind of list in it (split_zhou_*.json or split_cao_*.json; *_train_val_split.json, also in spg_coop_splits/;
/// *.jsonl; a *.csv that starts with the right header), else a folder of folders (data/folder_layout.h); or one such
/// list. The order of samples is the list's, or the byte order of paths. Dataset::layout says what was found. Throws
/// Error naming the file on broken or ambiguous layouts, missing pictures and paths that leave the folder.
Dataset open_dataset(const std::string& name_or_path, const OpenOptions& options = {});

}  // namespace attune
