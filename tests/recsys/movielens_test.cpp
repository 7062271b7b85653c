// The MovieLens parsers: what each family reads, and what bad input gets.
#include <gtest/gtest.h>
#include <zlib.h>

#include <filesystem>
#include <fstream>
#include <functional>

#include "engine/check.h"
#include "recsys/movielens.h"
#include "recsys/text_file.h"
#include "recsys/text_table.h"

namespace mettle {
namespace {

namespace fs = std::filesystem;
using Format = MovieLensFormat;

// A u.item line: id, title, dates, URL and 19 flags of which `set` is 1.
std::string item_line(const std::string& id, const std::string& title, const std::string& date,
                      int set) {
  std::string line = id + "|" + title + "|" + date + "||http://x";
  for (int g = 0; g < 19; ++g) line += g == set ? "|1" : "|0";
  return line + "\n";
}

std::string gzip(const std::string& text) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

// The message of the FileError that `action` throws; a note of its own when it throws none.
std::string file_error(const std::function<void()>& action) {
  try {
    action();
  } catch (const FileError& e) {
    return e.message();
  }
  return "no FileError";
}

// ---- what each family reads ---------------------------------------------------------------------

struct RatingsRow {
  const char* name;
  Format format;
  std::string text;
};

TEST(Ratings, EveryFamilySaysTheSame) {
  const RatingsRow rows[] = {
      {"csv", Format::csv, "userId,movieId,rating,timestamp\n3,20,4.5,99\n3,7,1,100\n12,7,5,101\n"},
      {"csv with quotes, CR LF, BOM, other column order, empty lines", Format::csv,
       "\xEF\xBB\xBF\"movieId\",\"userId\",\"timestamp\",\"rating\"\r\n\"20\",3,99,4.5\r\n"
       "\r\n7,3,100,1\r\n7,12,101,5"},
      {"dat", Format::dat, "3::20::4.5::99\n3::7::1::100\n12::7::5::101\n"},
      {"u.data", Format::udata, "3\t20\t4.5\t99\n3\t7\t1\t100\n12\t7\t5\t101\n"},
      {"RecBole", Format::recbole,
       "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
       "3\t20\t4.5\t99\n3\t7\t1\t100.5\n12\t7\t5\t1.01e2\n"},
      {"RecBole with a further column", Format::recbole,
       "x:float_seq\tuser_id:token\titem_id:token\trating:float\ttimestamp:float\n"
       "\t3\t20\t4.5\t99\n1 2\t3\t7\t1\t100\n\t12\t7\t5\t101\n"},
  };
  for (const RatingsRow& row : rows) {
    SCOPED_TRACE(row.name);
    const RatingTable table = parse_ratings(row.format, row.text, "r");
    EXPECT_EQ(table.users, (std::vector<std::string>{"3", "12"}));
    EXPECT_EQ(table.items, (std::vector<std::string>{"20", "7"}));
    ASSERT_EQ(table.rows.size(), 3u);
    EXPECT_EQ(table.rows[0].stars, 4.5);
    EXPECT_EQ(table.rows[1].timestamp, 100);
    EXPECT_EQ(table.rows[2].user, 1);
    EXPECT_EQ(table.rows[2].item, 1);
    EXPECT_EQ(table.rows[2].timestamp, 101);
    EXPECT_TRUE(table.has_timestamps);
  }
}

TEST(Ratings, ReadingTellsHowFarItIs) {
  std::string text = "userId,movieId,rating\n";
  for (int i = 1; i < 3 << 16; ++i) text += std::to_string(i) + ",1,4\n";
  std::vector<std::int64_t> done;
  parse_ratings(Format::csv, text, "ratings.csv",
                {.on_progress =
                     [&](const WorkRecord& record) {
                       EXPECT_EQ(record.total, 3);
                       done.push_back(record.done);
                     },
                 .interrupted = {}});
  EXPECT_EQ(done, (std::vector<std::int64_t>{0, 1, 2, 3}));
}

TEST(Ratings, IdsAreTokens) {
  const std::string text =
      "userId,movieId,rating\n"
      "2147483648,9223372036854775807,3\n"
      "10,b,3\n"
      "9,a7,3\n";
  const Dataset data = build_dataset(parse_ratings(Format::csv, text, "r"), {}, {});
  // Users are all integers and stand in numeric order; items are not, and stand in byte order.
  EXPECT_EQ(data.user_ids, (std::vector<std::string>{"9", "10", "2147483648"}));
  EXPECT_EQ(data.items[0].id, "9223372036854775807");
  EXPECT_EQ(data.items[1].id, "a7");
  EXPECT_EQ(data.items[2].id, "b");
}

struct ItemsRow {
  const char* name;
  Format format;
  std::string text;
  std::string title;
  std::optional<int> year;
  std::vector<std::string> genres;
};

TEST(Items, TitlesYearsAndGenres) {
  const std::vector<std::string> action_war = {"Action", "War"};
  const ItemsRow rows[] = {
      {"csv, year in the title", Format::csv, "movieId,title,genres\n1,Heat (1995),Action|War\n",
       "Heat", 1995, action_war},
      {"csv, year column", Format::csv,
       "\"movieId\",\"title\",\"year\",\"genres\"\n1,\"Heat\",1995,\"Action|War\"\n", "Heat", 1995,
       action_war},
      {"csv, comma and quotes in the title",
       Format::csv,
       "movieId,title,genres\n1,\"11'09\"\"01, \"\"x\"\" (2002) \",Action\n",
       "11'09\"01, \"x\"",
       2002,
       {"Action"}},
      {"csv, NA year, no genres",
       Format::csv,
       "movieId,title,year,genres\n1,NA,NA,(no genres listed)\n",
       "NA",
       std::nullopt,
       {}},
      {"recbole, a year that is not known",
       Format::recbole,
       "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
       "267\tunkonwn\tunkonwn\tunknown\n",
       "unkonwn",
       std::nullopt,
       {"unknown"}},
      {"recbole, a year that is in the title only",
       Format::recbole,
       "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
       "1412\tLand Before Time III (1995)\tV\tAnimation\n",
       "Land Before Time III",
       1995,
       {"Animation"}},
      {"csv, span of years",
       Format::csv,
       "movieId,title,genres\n1,Fargo (2014\u20132020),Crime\n",
       "Fargo",
       2014,
       {"Crime"}},
      {"csv, open span",
       Format::csv,
       "movieId,title,genres\n1,Fargo (2014-),Crime\n",
       "Fargo",
       2014,
       {"Crime"}},
      {"csv, brackets without a year",
       Format::csv,
       "movieId,title,genres\n1,Heat (Director's Cut),Action\n",
       "Heat (Director's Cut)",
       std::nullopt,
       {"Action"}},
      {"csv, a number that is no year",
       Format::csv,
       "movieId,title,genres\n1,Room (0237),Action\n",
       "Room (0237)",
       std::nullopt,
       {"Action"}},
      {"csv, only a year",
       Format::csv,
       "movieId,title,genres\n1,(1995),Action\n",
       "",
       1995,
       {"Action"}},
      {"dat, UTF-8", Format::dat, "1::Am\u00e9lie (2001)::Action|War\n", "Am\u00e9lie", 2001,
       action_war},
      {"dat, Latin-1", Format::dat, "1::Am\xE9lie (2001)::Action|War\n", "Am\u00e9lie", 2001,
       action_war},
      {"u.item, Latin-1",
       Format::udata,
       item_line("1", "Am\xE9lie (2001)", "01-Jan-1999", 17),
       "Am\u00e9lie",
       2001,
       {"War"}},
      {"u.item, year from the date",
       Format::udata,
       item_line("1", "Heat", "01-Jan-1995", 1),
       "Heat",
       1995,
       {"Action"}},
      {"u.item, nothing known",
       Format::udata,
       item_line("267", "unknown", "", 0),
       "unknown",
       std::nullopt,
       {}},
      {"RecBole, ml-100k", Format::recbole,
       "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
       "1\tHeat\t1995\tAction War\n",
       "Heat", 1995, action_war},
      {"RecBole, ml-1m, unknown year",
       Format::recbole,
       "item_id:token\tmovie_title:token_seq\trelease_year:token\tgenre:token_"
       "seq\n1\tHeat\t\tWar\n",
       "Heat",
       std::nullopt,
       {"War"}},
  };
  for (const ItemsRow& row : rows) {
    SCOPED_TRACE(row.name);
    const ItemTable table = parse_items(row.format, row.text, "items");
    ASSERT_EQ(table.rows.size(), 1u);
    EXPECT_EQ(table.rows[0].title, row.title);
    EXPECT_EQ(table.rows[0].year, row.year);
    EXPECT_EQ(table.rows[0].genres, row.genres);
  }
}

TEST(Users, FieldsBecomeVocabularies) {
  const std::pair<Format, std::string> cases[] = {
      {Format::dat, "2::F::25::3::48067\n1::M::1::::02460\n"},
      {Format::udata, "2|25|F|3|48067\n1|1|M||02460\n"},
      {Format::recbole,
       "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n"
       "2\t25\tF\t3\t48067\n1\t1\tM\t\t02460\n"},
  };
  for (const auto& [format, text] : cases) {
    const RatingTable ratings =
        parse_ratings(Format::csv, "userId,movieId,rating\n1,1,3\n2,1,4\n3,1,5\n", "r");
    const Dataset data = build_dataset(ratings, {}, parse_users(format, text, "users"));
    ASSERT_EQ(data.user_fields.size(), 4u);
    for (const UserField& field : data.user_fields) {
      SCOPED_TRACE(field.name);
      ASSERT_EQ(field.value.size(), 3u);
      EXPECT_EQ(field.value[2], -1);  // user 3 is not in the file
      if (field.name == "gender") {
        EXPECT_EQ(field.vocabulary, (std::vector<std::string>{"F", "M"}));
        EXPECT_EQ(field.value[0], 1);
        EXPECT_EQ(field.value[1], 0);
      }
      if (field.name == "occupation") {
        EXPECT_EQ(field.vocabulary, std::vector<std::string>{"3"});
        EXPECT_EQ(field.value[0], -1);
      }
    }
  }
  EXPECT_THROW(parse_users(Format::csv, "", "users"), ValueError);
}

TEST(Dataset, KeepsUnratedMoviesAndDropsUsersWithoutRatings) {
  const RatingTable ratings = parse_ratings(Format::dat, "1::5::3::0\n1::9::4::0\n", "r");
  const ItemTable items =
      parse_items(Format::dat, "7::Unrated (1990)::War\n5::Rated (1980)::Action|Action|War\n", "i");
  const UserTable users = parse_users(Format::dat, "1::F::1::1::1\n2::M::1::1::1\n", "u");
  const Dataset data = build_dataset(ratings, items, users);
  EXPECT_EQ(data.user_count(), 1);
  ASSERT_EQ(data.item_count(), 3);
  EXPECT_EQ(data.items[1].title, "Unrated");
  EXPECT_EQ(data.items[2].id, "9");
  EXPECT_EQ(data.items[2].title, "");
  EXPECT_EQ(data.genres, (std::vector<std::string>{"Action", "War"}));
  EXPECT_EQ(data.items[0].genres, (std::vector<std::int32_t>{0, 1}));  // "Action" counts once
  EXPECT_EQ(data.stars.low, 1.0);
  EXPECT_EQ(item_years(data), (std::vector<double>{1980, 1990, 1990}));
}

// ---- what bad input gets ------------------------------------------------------------------------

struct BadRow {
  Format format;
  std::string text;
  std::string message;
};

const std::string csv_header = "userId,movieId,rating,timestamp\n";

TEST(Ratings, RefusesBadInputWithLineAndColumn) {
  const BadRow rows[] = {
      {Format::csv, "", "f:1:1: the file is empty"},
      {Format::csv, "\n\n", "f:2:1: the file is empty"},
      {Format::csv, csv_header, "f:1:1: the file holds no ratings"},
      {Format::dat, "", "f:1:1: the file holds no ratings"},
      {Format::csv, "userId,rating\n1,3\n",
       "f:1:1: no column 'movieId' in the header, which has 'userId', 'rating'"},
      {Format::csv, "userId;movieId;rating\n",
       "f:1:1: no column 'userId' in the header, which has 'userId;movieId;rating'"},
      {Format::csv, "userId,userId,rating\n", "f:1:8: column 'userId' occurs twice"},
      {Format::csv, csv_header + "1,2,3\n", "f:2:1: expected 4 fields separated by ',', found 3"},
      {Format::csv, csv_header + "1,2,3,4,5\n",
       "f:2:9: expected 4 fields separated by ',', found 5"},
      {Format::dat, "1,2,3,4\n", "f:1:1: expected 4 fields separated by '::', found 1"},
      {Format::dat, "1::2::3::4\n1\t2\t3\t4\n",
       "f:2:1: expected 4 fields separated by '::', found 1"},
      {Format::udata, "1::2::3::4\n", "f:1:1: expected 4 fields separated by tab, found 1"},
      {Format::csv, csv_header + "1,2,three,4\n", "f:2:5: rating 'three' is not a finite number"},
      {Format::csv, csv_header + "1,2,nan,4\n", "f:2:5: rating 'nan' is not a finite number"},
      {Format::csv, csv_header + "1,2,inf,4\n", "f:2:5: rating 'inf' is not a finite number"},
      {Format::csv, csv_header + "1,2,1e999,4\n", "f:2:5: rating '1e999' is not a finite number"},
      {Format::csv, csv_header + "1,2,,4\n", "f:2:5: rating '' is not a finite number"},
      {Format::csv, csv_header + "1,2, 3,4\n", "f:2:5: rating ' 3' is not a finite number"},
      {Format::csv, csv_header + "1,2,3x,4\n", "f:2:5: rating '3x' is not a finite number"},
      {Format::csv, csv_header + "1,2,0,4\n", "f:2:5: rating '0' is outside 0.5..5"},
      {Format::csv, csv_header + "1,2,5.5,4\n", "f:2:5: rating '5.5' is outside 0.5..5"},
      {Format::csv, csv_header + "1,2,-3,4\n", "f:2:5: rating '-3' is outside 0.5..5"},
      {Format::csv, csv_header + "1,2,3,4.5\n", "f:2:7: timestamp '4.5' is not a 64-bit integer"},
      {Format::csv, csv_header + "1,2,3,9223372036854775808\n",
       "f:2:7: timestamp '9223372036854775808' is not a 64-bit integer"},
      {Format::recbole,
       "user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\t2\t3\t1e30\n",
       "f:2:7: timestamp '1e30' is out of range"},
      {Format::recbole, "user_id\titem_id:token\n",
       "f:1:1: column 'user_id' is not of the form name:type with a type of token, token_seq, "
       "float "
       "or float_seq"},
      {Format::recbole, "user_id:token\titem_id:int\n",
       "f:1:15: column 'item_id:int' is not of the form name:type with a type of token, token_seq, "
       "float or float_seq"},
      {Format::recbole, "user_id:token\titem_id:token\n1\t2\n",
       "f:1:1: no column 'rating' in the header, which has 'user_id', 'item_id'"},
      {Format::csv, csv_header + ",2,3,4\n", "f:2:1: user id is empty"},
      {Format::csv, csv_header + "1,9223372036854775808,3,4\n",
       "f:2:3: item id '9223372036854775808' is larger than 2^63 - 1"},
      {Format::csv, csv_header + std::string(129, 'a') + ",2,3,4\n",
       "f:2:1: user id '" + std::string(40, 'a') +
           "...' has 129 bytes, more than the 128 accepted"},
      {Format::csv, csv_header + "1,2\xC3,3,4\n", "f:2:4: item id '2\\xc3' is not valid UTF-8"},
      {Format::dat, std::string("1::2\0::3::4\n", 12),
       "f:1:4: item id '2\\x00' holds a control character"},
      {Format::csv, csv_header + "1,\"2,3,4\n", "f:2:3: the quote is not closed on its line"},
      {Format::csv, csv_header + "1,\"2\"x,3,4\n", "f:2:6: text after the closing quote"},
      {Format::csv, csv_header + "1,2\"x,3,4\n", "f:2:4: quote inside a field without quotes"},
      {Format::csv, csv_header + "1,2,3,4\n1,3,3," + std::string(70000, '7') + "\n",
       "f:3:65537: the line has 70006 bytes, more than the 65536 accepted"},
      {Format::csv, std::string(100000, 'a'),
       "f:1:65537: the line has 100000 bytes, more than the 65536 accepted"},
  };
  for (const BadRow& row : rows)
    EXPECT_EQ(file_error([&] { parse_ratings(row.format, row.text, "f"); }), row.message);
}

TEST(Items, RefusesBadInputWithLineAndColumn) {
  const std::string header = "movieId,title,year,genres\n";
  const BadRow rows[] = {
      {Format::csv, header, "f:1:1: the file holds no items"},
      {Format::csv, header + "1,A,95,War\n", "f:2:5: year '95' is not within 1870..2200"},
      {Format::csv, header + "1,A,1995.0,War\n", "f:2:5: year '1995.0' is not within 1870..2200"},
      {Format::csv, header + "1,A,1995,War\n1,B,1996,War\n", "f:3:1: item id '1' occurs twice"},
      {Format::csv, header + "1,Am\xE9lie,1995,War\n",
       "f:2:5: title 'Am\\xe9lie' is not valid UTF-8"},
      {Format::csv, header + "1,\xED\xA0\x80,1995,War\n",
       "f:2:3: title '\\xed\\xa0\\x80' is not valid UTF-8"},
      {Format::csv, header + "1,\x1b[31mred,1995,War\n",
       "f:2:3: title '\\x1b[31mred' holds a control character"},
      {Format::csv, header + "1,\xC2\x9Bx,1995,War\n",
       "f:2:3: title '\\xc2\\x9bx' holds a control character"},
      {Format::dat, "1::A\x9B (1995)::War\n",
       "f:1:4: title 'A\\xc2\\x9b (1995)' holds a control character"},
      {Format::udata, item_line("1", "A", "", 3) + "2|B\n",
       "f:2:1: expected 24 fields separated by '|', found 2"},
      {Format::udata, "1|A||||2|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0\n",
       "f:1:8: genre flag '2' is not 0 or 1"},
      {Format::recbole, "item_id:token\trelease_year:token\n",
       "f:1:1: no column 'movie_title' in the header, which has 'item_id', 'release_year'"},
  };
  for (const BadRow& row : rows)
    EXPECT_EQ(file_error([&] { parse_items(row.format, row.text, "f"); }), row.message);
}

TEST(Users, RefusesBadInput) {
  EXPECT_EQ(file_error([] { parse_users(Format::dat, "1::F\n", "f"); }),
            "f:1:1: expected 5 fields separated by '::', found 2");
  EXPECT_EQ(file_error([] { parse_users(Format::udata, "1|1|F|x|y\n1|1|F|x|y\n", "f"); }),
            "f:2:1: user id '1' occurs twice");
  EXPECT_EQ(file_error([] { parse_users(Format::recbole, "age:token\n1\n", "f"); }),
            "f:1:1: no column 'user_id' in the header, which has 'age'");
}

TEST(Dataset, RefusesARatingGivenTwice) {
  const RatingTable table = parse_ratings(
      Format::csv, "userId,movieId,rating\n1,2,3\n7,2,3\n1,3,3\n1,2,4\n", "ratings.csv");
  EXPECT_EQ(file_error([&] { build_dataset(table, {}, {}); }),
            "ratings.csv:5:1: user '1' has already rated item '2' in line 2");
}

// ---- gzip and folders ---------------------------------------------------------------------------

TEST(Gzip, UnpacksMembersAndRefusesDamage) {
  const std::string text(100000, 'x');
  const std::string packed = gzip(text);
  EXPECT_EQ(gunzip(packed, "g"), text);
  EXPECT_EQ(gunzip(packed + gzip("more"), "g"), text + "more");
  for (std::size_t cut = 2; cut < packed.size(); ++cut)
    EXPECT_NE(file_error([&] { gunzip(packed.substr(0, cut), "g"); }).find("cut short"),
              std::string::npos)
        << cut;
  EXPECT_EQ(file_error([&] { gunzip(packed + "tail", "g"); }),
            "g: 4 bytes behind the end of the gzip data");
  EXPECT_EQ(file_error([&] { gunzip(packed, "g", 99999); }),
            "g: unpacks to more than the 99999 bytes accepted");
  std::string wrong_sum = packed;
  wrong_sum[packed.size() - 5] ^= 1;
  EXPECT_NE(file_error([&] { gunzip(wrong_sum, "g"); }).find("damaged gzip data"),
            std::string::npos);
}

class Folder : public testing::Test {
 protected:
  void SetUp() override {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::path(testing::TempDir()) / (std::string("mettle_movielens_") + test->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  void write(const std::string& name, const std::string& bytes) const {
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
  }
  fs::path folder_;
};

struct FamilyFiles {
  const char* ratings;
  std::string ratings_text;
  const char* items;
  std::string items_text;
  const char* users;
  std::string users_text;
};

TEST_F(Folder, FindsEveryFamilyPlainAndGzipped) {
  const FamilyFiles families[] = {
      {"ratings.csv", csv_header + "1,2,3,4\n", "movies.csv",
       "movieId,title,genres\n2,Heat (1995),War\n", "", ""},
      {"ratings.dat", "1::2::3::4\n", "movies.dat", "2::Heat (1995)::War\n", "users.dat",
       "1::F::1::1::1\n"},
      {"ratings_users1-2.dat", "1::2::3::4\n", "movies.dat", "2::Heat (1995)::War\n", "users.dat",
       "1::F::1::1::1\n"},
      {"u.data", "1\t2\t3\t4\n", "u.item", item_line("2", "Heat (1995)", "", 17), "u.user",
       "1|1|F|x|1\n"},
      {"ml.inter", "user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\t2\t3\t4\n",
       "ml.item",
       "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_"
       "seq\n2\tHeat\t1995\tWar"
       "\n",
       "ml.user", "user_id:token\tgender:token\n1\tF\n"},
  };
  for (const FamilyFiles& family : families) {
    for (const bool packed : {false, true}) {
      SCOPED_TRACE(std::string(family.ratings) + (packed ? ".gz" : ""));
      SetUp();
      const auto put = [&](const std::string& name, const std::string& text) {
        if (!name.empty()) write(name + (packed ? ".gz" : ""), packed ? gzip(text) : text);
      };
      put(family.ratings, family.ratings_text);
      put(family.items, family.items_text);
      put(family.users, family.users_text);
      const fs::path file = folder_ / (std::string(family.ratings) + (packed ? ".gz" : ""));
      for (const fs::path& path : {folder_, file}) {
        const Dataset data = load_movielens(path);
        EXPECT_EQ(data.name, folder_.filename());
        ASSERT_EQ(data.item_count(), 1);
        EXPECT_EQ(data.items[0].title, "Heat");
        EXPECT_EQ(data.items[0].year, 1995);
        EXPECT_EQ(data.genres, std::vector<std::string>{"War"});
        EXPECT_EQ(data.user_fields.empty(), std::string(family.users).empty());
        EXPECT_EQ(data.ratings[0].timestamp, 4);
      }
    }
  }
}

// Interrupts reading at its first chance, then at its second one, and so on.
TEST_F(Folder, ReadingCanBeInterruptedInEachOfItsParts) {
  const std::string text = csv_header + "1,2,3,4\n5,2,3,4\n";
  int chances_of_plain = 0;
  for (const bool packed : {false, true}) {
    SetUp();
    write(packed ? "ratings.csv.gz" : "ratings.csv", packed ? gzip(text) : text);
    write("movies.csv", "movieId,title,genres\n2,Heat (1995),War\n");
    int chances = 0;
    for (bool whole = false; !whole; ++chances) {
      int left = chances;
      const WorkHooks hooks = {.on_progress = {}, .interrupted = [&] { return left-- == 0; }};
      try {
        EXPECT_EQ(load_movielens(folder_, hooks).ratings.size(), 2u);
        whole = true;
      } catch (const Interrupted& end) {
        EXPECT_EQ(end.work(), kReadingRatings);
      }
    }
    // Both files are read; ratings are counted, placed, and sorted for each of two users.
    EXPECT_GE(chances, 2 + 2 + 2);
    EXPECT_TRUE(!packed || chances > chances_of_plain) << "unpacking";
    chances_of_plain = chances;
  }
}

TEST_F(Folder, RefusesWhatItCannotRead) {
  const auto error = [&](const fs::path& path) {
    return file_error([&] { load_movielens(path); });
  };
  const std::string folder = folder_.string();
  EXPECT_EQ(error(folder_ / "none"), folder + "/none: no such file or folder");
  EXPECT_EQ(error(folder_),
            folder +
                ": no ratings in this folder: expected ratings.csv, ratings.dat, u.data or a "
                ".inter file, each also with .gz");
  write("notes.txt", "x");
  EXPECT_EQ(error(folder_ / "notes.txt"),
            folder +
                "/notes.txt: not a ratings file by its name: expected .csv, .dat, .data or "
                ".inter, each also with .gz; unpack an archive and give its folder");
  write("ratings.csv.gz", csv_header + "1,2,3,4\n");
  EXPECT_EQ(error(folder_), folder + "/ratings.csv.gz: named .gz, but not gzip data");
  const std::string packed = gzip(csv_header + "1,2,3,4\n");
  write("ratings.csv.gz", packed.substr(0, packed.size() - 3));
  EXPECT_EQ(error(folder_),
            folder + "/ratings.csv.gz: the gzip data is cut short after 40 bytes of text");
  write("ratings.csv.gz", packed);
  EXPECT_EQ(load_movielens(folder_).ratings.size(), 1u);
  write("movies.csv", "movieId,title,genres\n1,\"x\n");
  EXPECT_EQ(error(folder_), folder + "/movies.csv:2:3: the quote is not closed on its line");
  fs::remove(folder_ / "movies.csv");
  write("u.data", "1\t2\t3\t4\n");
  EXPECT_EQ(error(folder_), folder +
                                ": several ratings files, among them ratings.csv.gz and u.data: "
                                "give the path of one");
  EXPECT_EQ(load_movielens(folder_ / "u.data").user_count(), 1);
  fs::remove(folder_ / "u.data");
  fs::create_directory(folder_ / "ratings.dat");  // a folder by a file's name is not a data set
  EXPECT_EQ(load_movielens(folder_).ratings.size(), 1u);
  fs::create_directory(folder_ / "u.data");
  EXPECT_NE(error(folder_ / "u.data"), "no FileError");
}

}  // namespace
}  // namespace mettle
