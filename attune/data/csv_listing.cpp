#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/data/split_files.h"
#include "attune/formats/csv.h"

namespace attune {
namespace {

std::optional<std::int64_t> integer(const std::string& text) {
  std::int64_t value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

Listing parse_csv_listing(std::string_view text, std::string_view where, Part part) {
  const std::vector<CsvRow> rows = parse_csv(text, where);
  if (rows.empty())
    throw Error(
        fmt::format("{}: expected the header filepath,label[,split,domain,caption], found an empty file", where));
  std::map<std::string, std::size_t> columns;
  for (const std::string& name : rows.front().fields) {
    if (!columns.emplace(name, columns.size()).second)
      throw Error(fmt::format("{}: expected each column once, found \"{}\" twice", where, name));
  }
  for (const char* name : {"filepath", "label"}) {
    if (!columns.contains(name)) throw Error(fmt::format("{}: expected a column \"{}\" in the header", where, name));
  }
  if (rows.size() == 1) throw Error(fmt::format("{}: expected a picture a line, found only the header", where));
  const std::size_t label = columns.at("label");
  const bool numbered = std::all_of(rows.begin() + 1, rows.end(), [&](const CsvRow& row) {
    return label < row.fields.size() && integer(row.fields[label]);
  });
  Listing listing;
  for (auto row = rows.begin() + 1; row != rows.end(); ++row) {
    Entry entry;
    entry.where = fmt::format("{}:{}", where, row->line);
    if (row->fields.size() != columns.size()) {
      throw Error(fmt::format("{}: expected {} columns, found {}", entry.where, columns.size(), row->fields.size()));
    }
    const auto cell = [&](const char* name) {
      const auto found = columns.find(name);
      return found == columns.end() ? std::string() : row->fields[found->second];
    };
    entry.path = cell("filepath");
    entry.class_name = cell("classname");
    entry.domain = cell("domain");
    entry.caption = cell("caption");
    entry.part = columns.contains("split") ? part_named(cell("split"), entry.where) : part;
    if (numbered) {
      entry.label = *integer(cell("label"));
      if (entry.label < 0)
        throw Error(fmt::format("{}: expected a label of at least 0, found {}", entry.where, entry.label));
    } else {
      entry.class_name = cell("label");
    }
    listing.entries.push_back(std::move(entry));
  }
  return listing;
}

}  // namespace attune
