"""Functions of MariaDB and MySQL that a condition may call: the same row gives the same answer within a statement, and
nothing is waited for, locked, written or remembered.

Left out on purpose: RAND, UUID, SYSDATE, SLEEP, BENCHMARK, GET_LOCK and its kin, LOAD_FILE, LAST_INSERT_ID, ROW_COUNT,
FOUND_ROWS, CONNECTION_ID, NEXTVAL, SETVAL, LASTVAL, the waits for replicas, and all that may be installed.
"""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Words of the language that are followed by a bracket without being a call, types of CAST among them.
KEYWORDS = _words(
    """
    all and any as asc between binary bigint bit by case cast char character collate convert cross dec decimal desc
    distinct div double else end except exists float from group having if in inner int integer intersect interval is
    isnull join json_table left like limit mod natural not null nchar numeric on or order outer over partition range
    real regexp right rlike row rows select set signed similar some sounds straight_join table then time timestamp
    date datetime union unsigned using value values varchar varbinary when where window with xor year columns
    """
)

STEADY = _words(
    """
    abs acos adddate addtime ascii asin atan atan2 avg bin bin_to_uuid bit_and bit_count bit_length bit_or bit_xor cast
    ceil ceiling char char_length character_length chr coalesce concat concat_ws conv convert convert_tz cos cot count
    crc32 crc32c curdate current_date current_time current_timestamp curtime date date_add date_format date_sub datediff
    day dayname dayofmonth dayofweek dayofyear degrees elt exp export_set extract field find_in_set floor format
    format_bytes from_base64 from_days from_unixtime greatest group_concat grouping hex hour if ifnull inet6_aton
    inet6_ntoa inet_aton inet_ntoa insert instr is_ipv4 is_ipv4_compat is_ipv4_mapped is_ipv6 is_uuid isnull json_array
    json_array_append json_array_insert json_arrayagg json_compact json_contains json_contains_path json_depth
    json_detailed json_equals json_exists json_extract json_insert json_keys json_length json_loose json_merge_patch
    json_merge_preserve json_normalize json_object json_objectagg json_overlaps json_pretty json_query json_quote
    json_remove json_replace json_search json_set json_type json_unquote json_valid json_value last_day lcase least left
    length lengthb ln localtime localtimestamp locate log log10 log2 lower lpad ltrim makedate maketime max md5
    member microsecond mid min minute mod month monthname natural_sort_key now nullif nvl nvl2 oct octet_length ord
    period_add period_diff pi position pow power quarter quote radians regexp_instr regexp_like regexp_replace
    regexp_substr repeat replace reverse right round row_number rpad rtrim sec_to_time second sha sha1 sha2 sign sin
    soundex space sqrt std stddev stddev_pop stddev_samp str_to_date strcmp subdate substr substring substring_index
    subtime sum tan time time_format time_to_sec timediff timestamp timestampadd timestampdiff to_base64 to_char to_days
    to_seconds trim truncate ucase uncompressed_length unhex unix_timestamp upper utc_date utc_time utc_timestamp
    uuid_to_bin value var_pop var_samp variance week weekday weekofyear weight_string year yearweek
    dense_rank first_value lag last_value lead nth_value ntile percent_rank rank cume_dist
    """
)
