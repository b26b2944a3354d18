#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace attune {

/// One record of a CSV text and the line on which it begins (from 1), for messages.
struct CsvRow {
  std::int64_t line = 0;
  std::vector<std::string> fields;
};

/// A CSV text by RFC 4180: fields in double quotes may hold commas, line ends and doubled quotes. Records end with LF
/// or CRLF; a byte order mark at the start and empty lines are left out; spaces count. Fields are UTF-8 as they stand.
/// Throws Error "name:line: ..." for a quote that is not closed or stands within an unquoted field, for text after a
/// closing quote, for NUL characters and above 4,096 fields a record or 5 million records.
std::vector<CsvRow> parse_csv(std::string_view text, std::string_view name);
std::vector<CsvRow> read_csv(const std::filesystem::path& path, std::uint64_t limit = std::uint64_t{1} << 28);

/// A field as it stands in a CSV text: quoted where it needs to be.
std::string csv_field(std::string_view text);

}  // namespace attune
