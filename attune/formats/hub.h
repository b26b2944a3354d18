#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace attune {

/// "hf-hub:ORGANISATION/NAME[@REVISION]": a model on a hub of Hugging Face's kind.
struct HubName {
  std::string repository, revision = "main";
};
bool is_hub_name(std::string_view name);
/// Throws UsageError for a name of another form.
HubName parse_hub_name(std::string_view name);

/// A file of a repository, as the hub lists it.
struct HubFile {
  std::string name;
  std::uint64_t bytes = 0;
  std::string sha256;  // lower-case hexadecimal; empty where the hub gives none (small files)
};
/// What a repository holds at one commit.
struct HubListing {
  std::string commit;  // 40 hexadecimal digits
  std::vector<HubFile> files;
};
/// The hub's answer about a repository. Throws Error that names `where`.
HubListing parse_hub_listing(std::string_view text, const std::string& where);

/// Those files that a model folder needs, the weights last: of Hugging Face's form where its weights are there as
/// safetensors, else of OpenCLIP's. Throws Error that names `where` and what is there instead.
std::vector<HubFile> files_of_model(const HubListing& listing, const std::string& where);

/// The folder of a model's files in the hub's own cache ($HF_HUB_CACHE, else $HF_HOME/hub, else
/// ~/.cache/huggingface/hub), whose layout other programs share. A revision that is there is taken as it is, and no
/// server is asked. Else it is downloaded from $HF_ENDPOINT (or https://huggingface.co) with the token $HF_TOKEN where
/// one is set, unless $HF_HUB_OFFLINE is: files are compared with the hub's sizes and SHA-256 sums, an interrupted
/// download goes on where it stopped, and only complete files get their names. Throws Error that names the model and
/// what failed.
std::filesystem::path hub_folder(const std::string& name);

}  // namespace attune
