#include "attune/formats/torch_archive.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/formats/bytes.h"
#include "attune/formats/pickle.h"
#include "attune/formats/torch_storage.h"
#include "attune/formats/zip.h"

namespace attune {
namespace {

using Kind = PickleValue::Kind;

constexpr int kDeepest = 64;
constexpr std::size_t kMostVisits = 500'000;
constexpr std::size_t kLongestName = 1024;
constexpr std::size_t kLargestPickle = std::size_t{64} << 20;

bool one_of(std::string_view text, std::initializer_list<std::string_view> choices) {
  for (const std::string_view choice : choices) {
    if (text == choice) return true;
  }
  return false;
}

bool rebuilds_a_tensor(std::string_view function) {
  return one_of(function,
                {"torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor_v3"});
}

/// Functions whose result is, for us, their first argument. Protocol 2 uses Python 2's names.
bool passes_its_argument(std::string_view function) {
  return one_of(
      function,
      {"torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state", "torch.nn.parameter.Parameter",
       "torch.Size", "builtins.list", "builtins.tuple", "builtins.set", "builtins.frozenset", "__builtin__.set",
       "__builtin__.frozenset", "torch.jit._pickle.restore_type_tag", "torch.jit._pickle.build_intlist",
       "torch.jit._pickle.build_tensorlist", "torch.jit._pickle.build_doublelist", "torch.jit._pickle.build_boollist"});
}

/// The members of torch.nn.Module that hold its tensors and children, without a name of their own in a state dict.
bool is_transparent(std::string_view key) {
  return one_of(key, {"_parameters", "_buffers", "_modules"});
}

/// Walks the object of an archive and gives every leaf a dotted name. Shared objects are visited once for every way to
/// them, so that visits, names, texts and tensors all draw on budgets.
class Flattener {
 public:
  Flattener(const Pickle& pickle, StorageBytes& storages, std::uint64_t budget, std::string_view name)
      : pickle_(pickle), storages_(storages), budget_(budget), name_(name) {}

  TorchArchive flatten() {
    walk("", pickle_.root_place(), 0);
    return std::move(archive_);
  }

 private:
  [[noreturn]] void refuse(const std::string& prefix, std::string_view text) const {
    throw Error(fmt::format("{}: {}: {}", name_, prefix.empty() ? "root" : prefix, text));
  }
  void spend(const std::string& prefix, std::uint64_t bytes) {
    if (bytes > budget_) refuse(prefix, "expected content of at most four times the size of the file, found more");
    budget_ -= bytes;
  }
  template <class T>
  void add(std::map<std::string, T>& to, const std::string& prefix, T value) {
    const std::string name = prefix.empty() ? "root" : prefix;
    if (name.size() > kLongestName) refuse(name.substr(0, 80), "expected a shorter name");
    spend(name, name.size());
    if (!to.emplace(name, std::move(value)).second) refuse(name, "expected one value of this name, found two");
  }
  static std::string join(const std::string& prefix, const std::string& key) {
    return prefix.empty() ? key : prefix + "." + key;
  }

  void walk(const std::string& prefix, PicklePlace place, int depth);
  void walk_items(const std::string& prefix, const std::vector<PicklePlace>& items, int depth);
  void walk_pairs(const std::string& prefix, const std::vector<PicklePlace>& pairs, bool is_state, int depth);
  void walk_record(const std::string& prefix, const PickleValue& record, int depth);

  const Pickle& pickle_;
  StorageBytes& storages_;
  std::uint64_t budget_;
  std::string_view name_;
  std::size_t visits_ = 0;
  TorchArchive archive_;
};

void Flattener::walk(const std::string& prefix, PicklePlace place, int depth) {
  if (depth > kDeepest) refuse(prefix.substr(0, 80), fmt::format("expected at most {} levels", kDeepest));
  if (++visits_ > kMostVisits) refuse(prefix.substr(0, 80), fmt::format("expected at most {} values", kMostVisits));
  const PickleValue& value = pickle_.at(place);
  switch (value.kind) {
    case Kind::kNone:
      return add(archive_.values, prefix, Json(nullptr));
    case Kind::kBool:
      return add(archive_.values, prefix, Json(value.integer != 0));
    case Kind::kInteger:
      return add(archive_.values, prefix, Json(value.integer));
    case Kind::kFloat:
      return add(archive_.values, prefix, Json(value.number));
    case Kind::kText:
      spend(prefix, value.text.size());
      return add(archive_.values, prefix, Json(value.text));
    case Kind::kBytes:
      return add(archive_.inert, prefix, std::string("bytes"));
    case Kind::kBigInteger:
      return add(archive_.inert, prefix, std::string("int"));
    case Kind::kGlobal:
      spend(prefix, value.text.size());
      return add(archive_.inert, prefix, value.text);
    case Kind::kPersistent:
      return add(archive_.inert, prefix, std::string("storage"));
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kSet:
      return walk_items(prefix, value.items, depth);
    case Kind::kDict:
      return walk_pairs(prefix, value.pairs, false, depth);
    case Kind::kRecord:
      return walk_record(prefix, value, depth);
  }
}

void Flattener::walk_items(const std::string& prefix, const std::vector<PicklePlace>& items, int depth) {
  for (std::size_t i = 0; i < items.size(); ++i) walk(join(prefix, std::to_string(i)), items[i], depth + 1);
}

void Flattener::walk_pairs(const std::string& prefix, const std::vector<PicklePlace>& pairs, bool is_state, int depth) {
  // As in Python, the last value of a key stands.
  std::map<std::string, PicklePlace> members;
  for (std::size_t i = 0; i + 1 < pairs.size(); i += 2) {
    if (++visits_ > kMostVisits) refuse(prefix.substr(0, 80), fmt::format("expected at most {} values", kMostVisits));
    const PickleValue& key = pickle_.at(pairs[i]);
    if (key.kind == Kind::kText && key.text.size() <= kLongestName) {
      members.insert_or_assign(key.text, pairs[i + 1]);
    } else if (key.kind == Kind::kInteger) {
      members.insert_or_assign(std::to_string(key.integer), pairs[i + 1]);
    } else {
      return add(archive_.inert, prefix, std::string("dictionary with other keys than texts and numbers"));
    }
  }
  for (const auto& [key, place] : members) {
    walk(is_state && is_transparent(key) ? prefix : join(prefix, key), place, depth + 1);
  }
}

void Flattener::walk_record(const std::string& prefix, const PickleValue& record, int depth) {
  const PickleValue& callable = pickle_.at(record.callable);
  const PickleValue& arguments = pickle_.at(record.arguments);
  const std::string& function = callable.kind == Kind::kGlobal ? callable.text : "";
  if (function == "torch._tensor._rebuild_from_type_v2" && arguments.items.size() == 4) {
    // Function, type, arguments and attributes of a tensor that was given attributes.
    PickleValue plain;
    plain.kind = Kind::kRecord;
    plain.callable = arguments.items[0];
    plain.arguments = arguments.items[2];
    if (rebuilds_a_tensor(pickle_.at(plain.callable).text)) return walk_record(prefix, plain, depth + 1);
  }
  if (rebuilds_a_tensor(function)) {
    const std::string where = fmt::format("{}: tensor {}", name_, prefix);
    ArchiveTensor tensor = rebuild_tensor(pickle_, function, arguments, storages_, budget_, where);
    spend(prefix, tensor.bytes.size() + 8 * tensor.shape.size());
    return add(archive_.tensors, prefix, std::move(tensor));
  }
  const bool has_argument = arguments.kind == Kind::kTuple && !arguments.items.empty();
  if (has_argument && passes_its_argument(function)) return walk(prefix, arguments.items[0], depth + 1);
  if (function == "collections.OrderedDict") {
    // Its state holds what users hang on it, such as the versions of the modules.
    std::vector<PicklePlace> pairs;
    if (has_argument) {
      for (const PicklePlace place : pickle_.at(arguments.items[0]).items) {
        const PickleValue& pair = pickle_.at(place);
        if (pair.items.size() != 2) refuse(prefix, "expected keys and values of an ordered dictionary");
        pairs.insert(pairs.end(), pair.items.begin(), pair.items.end());
      }
    }
    pairs.insert(pairs.end(), record.pairs.begin(), record.pairs.end());
    return walk_pairs(prefix, pairs, false, depth);
  }
  const bool has_state = record.state != PickleValue::kNowhere && pickle_.at(record.state).kind == Kind::kDict;
  if (!has_state && record.pairs.empty() && record.items.empty()) {
    spend(prefix, function.size());
    return add(archive_.inert, prefix, function);
  }
  if (has_state) walk_pairs(prefix, pickle_.at(record.state).pairs, true, depth);
  walk_pairs(prefix, record.pairs, false, depth);
  walk_items(prefix, record.items, depth);
}

/// Four times the size of the file, and something for the names in small files.
std::uint64_t budget_for(std::uint64_t size) {
  constexpr std::uint64_t kAlways = std::uint64_t{16} << 20;
  return 4 * size + kAlways;
}

TorchArchive parse_zip_form(std::span<const std::byte> bytes, std::string_view name) {
  constexpr std::string_view kPickle = "/data.pkl";
  const ZipArchive zip(bytes, std::string(name));
  std::string root;
  for (const auto& [member, entry] : zip.members()) {
    const bool found = member.ends_with(kPickle) && member.find('/') == member.size() - kPickle.size();
    if (!found) continue;
    if (!root.empty()) throw Error(fmt::format("{}: expected one data.pkl, found two", name));
    root = member.substr(0, member.size() - kPickle.size());
  }
  if (root.empty())
    throw Error(fmt::format("{}: expected a PyTorch archive, found a zip archive without data.pkl", name));
  std::vector<std::byte> buffer;
  if (zip.contains(root + "/byteorder") && as_text(zip.content(root + "/byteorder", buffer)) != "little") {
    throw Error(fmt::format("{}: expected an archive of little-endian numbers", name));
  }
  std::uint64_t size = 0;
  for (const auto& [member, entry] : zip.members()) size += std::min(entry.size, 1032 * entry.packed);
  if (zip.members().at(root + "/data.pkl").size > kLargestPickle) {
    throw Error(fmt::format("{}: expected data.pkl of at most {} bytes", name, kLargestPickle));
  }
  const Pickle pickle(zip.content(root + "/data.pkl", buffer), name);
  ZipStorages storages(zip, root);
  return Flattener(pickle, storages, budget_for(size), name).flatten();
}

/// Pickles in a row: a magic number, a protocol number, facts of the machine, the object, the keys of the storages.
TorchArchive parse_sequential_form(std::span<const std::byte> bytes, std::string_view name) {
  constexpr std::string_view kMagic = "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
  constexpr std::int64_t kProtocol = 1001;
  const std::uint64_t size = bytes.size();
  const auto next = [&] {
    Pickle pickle(bytes.first(std::min(bytes.size(), kLargestPickle)), name);
    bytes = bytes.subspan(pickle.size());
    return pickle;
  };
  const Pickle magic = next();
  if (magic.root().kind != Kind::kBigInteger || magic.root().text != kMagic) {
    throw Error(fmt::format("{}: expected the file of torch.save, found another pickle", name));
  }
  const Pickle protocol = next();
  if (protocol.root().kind != Kind::kInteger || protocol.root().integer != kProtocol) {
    throw Error(fmt::format("{}: expected protocol {} of torch.save", name, kProtocol));
  }
  const Pickle machine = next();
  const auto& facts = machine.root().pairs;
  for (std::size_t i = 0; i + 1 < facts.size(); i += 2) {
    const PickleValue& value = machine.at(facts[i + 1]);
    if (machine.at(facts[i]).text == "little_endian" && value.kind == Kind::kBool && value.integer == 0) {
      throw Error(fmt::format("{}: expected an archive of little-endian numbers", name));
    }
  }
  const Pickle object = next();
  SequentialStorages storages(bytes, object, name);
  return Flattener(object, storages, budget_for(size), name).flatten();
}

}  // namespace

TorchArchive parse_torch_archive(std::span<const std::byte> bytes, std::string_view name) {
  const std::string_view text = as_text(bytes);
  if (text.starts_with("PK")) return parse_zip_form(bytes, name);
  if (text.starts_with("\x80")) return parse_sequential_form(bytes, name);
  throw Error(fmt::format(
      "{}: expected a file of torch.save or torch.jit.save, found neither a zip archive nor a pickle", name));
}

TorchArchive read_torch_archive_fully(const std::filesystem::path& path) {
  const MappedFile file(path);
  return parse_torch_archive(file.bytes(), path.string());
}

std::map<std::string, ArchiveTensor> read_torch_archive(const std::filesystem::path& path) {
  return read_torch_archive_fully(path).tensors;
}

}  // namespace attune
