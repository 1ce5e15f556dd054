"""The Nexmark queries as Flink SQL, as in the suite's own repository: the same questions as
bats/examples/nexmark asks, over the same files.  Query 12 is by event time, as ours; query 13's table is a
csv.  Made for tests/bench/nexmark."""

BID = "auction bigint, bidder bigint, price bigint, channel string, url string, `dateTime` timestamp_ltz(3), extra string"
AUCTION = ("id bigint, itemName string, description string, initialBid bigint, reserve bigint, "
           "`dateTime` timestamp_ltz(3), expires timestamp_ltz(3), seller bigint, category bigint, extra string")
PERSON = ("id bigint, name string, emailAddress string, creditCard string, city string, state string, "
          "`dateTime` timestamp_ltz(3), extra string")


def tables(data):
    """The sources; `data` is the directory of the files."""
    yield "set 'table.local-time-zone' = 'UTC'"
    for name, columns in (("bid", BID), ("auction", AUCTION), ("person", PERSON)):
        yield (f"create table {name} ({columns}, watermark for `dateTime` as `dateTime`) with ('connector' = 'filesystem', "
               f"'path' = 'file://{data}/{name}.ndjson', 'format' = 'json', "
               "'json.timestamp-format.standard' = 'ISO-8601')")
    yield (f"create table side (`key` bigint, `value` string) with ('connector' = 'filesystem', "
           f"'path' = 'file://{data}/side-noheader.csv', 'format' = 'csv')")
    yield "create table sink_none (x string) with ('connector' = 'blackhole')"


STATS = """count(*) as total_bids, count(*) filter (where price < 10000) as rank1_bids,
  count(*) filter (where price >= 10000 and price < 1000000) as rank2_bids,
  count(*) filter (where price >= 1000000) as rank3_bids,
  count(distinct bidder) as total_bidders, count(distinct bidder) filter (where price < 10000) as rank1_bidders,
  count(distinct bidder) filter (where price >= 10000 and price < 1000000) as rank2_bidders,
  count(distinct bidder) filter (where price >= 1000000) as rank3_bidders,
  count(distinct auction) as total_auctions, count(distinct auction) filter (where price < 10000) as rank1_auctions,
  count(distinct auction) filter (where price >= 10000 and price < 1000000) as rank2_auctions,
  count(distinct auction) filter (where price >= 1000000) as rank3_auctions"""
TUMBLE = "table(tumble(table %s, descriptor(`dateTime`), interval '10' second))"
WON = "auction a, bid b where a.id = b.auction and b.`dateTime` between a.`dateTime` and a.expires"
DAY = "date_format(`dateTime`, 'yyyy-MM-dd')"

SQL = {
    0: "select auction, bidder, price, `dateTime`, extra from bid",
    1: "select auction, bidder, 0.908 * price as price, `dateTime`, extra from bid",
    2: "select auction, price from bid where mod(auction, 123) = 0",
    3: "select p.name, p.city, p.state, a.id from auction as a inner join person as p on a.seller = p.id "
       "where a.category = 10 and (p.state = 'OR' or p.state = 'ID' or p.state = 'CA')",
    4: f"select q.category, avg(cast(q.final as double)) as final from (select max(b.price) as final, a.category "
       f"from {WON} group by a.id, a.category) q group by q.category",
    5: """select ab.auction, ab.num, ab.e from (select auction, count(*) as num, window_start as s, window_end as e
            from table(hop(table bid, descriptor(`dateTime`), interval '2' second, interval '10' second))
            group by auction, window_start, window_end) ab
          join (select max(cb.num) as maxn, cb.s, cb.e from (select count(*) as num, window_start as s, window_end as e
            from table(hop(table bid, descriptor(`dateTime`), interval '2' second, interval '10' second))
            group by auction, window_start, window_end) cb group by cb.s, cb.e) mb
          on ab.s = mb.s and ab.e = mb.e and ab.num >= mb.maxn""",
    7: f"""select b.auction, b.price, b.bidder, b.`dateTime`, b.extra from bid b join
          (select max(price) as maxprice, window_end as e from {TUMBLE % 'bid'} group by window_start, window_end) b1
          on b.price = b1.maxprice where b.`dateTime` between b1.e - interval '10' second and b1.e""",
    8: f"""select p.id, p.name, p.s from (select id, name, window_start as s, window_end as e from
            {TUMBLE % 'person'} group by id, name, window_start, window_end) p join
          (select seller, window_start as s, window_end as e from {TUMBLE % 'auction'}
            group by seller, window_start, window_end) a on p.id = a.seller and p.s = a.s and p.e = a.e""",
    9: f"""select id, itemName, description, initialBid, reserve, adate, expires, seller, category, aextra, auction,
          bidder, price, bdate, bextra from (select a.id, a.itemName, a.description, a.initialBid, a.reserve,
          a.`dateTime` as adate, a.expires, a.seller, a.category, a.extra as aextra, b.auction, b.bidder, b.price,
          b.`dateTime` as bdate, b.extra as bextra, row_number() over (partition by a.id
          order by b.price desc, b.`dateTime` asc) as rownum from {WON}) where rownum <= 1""",
    10: f"select auction, bidder, price, `dateTime`, extra, {DAY}, date_format(`dateTime`, 'HH:mm') from bid",
    11: "select bidder, count(*) as n, window_start, window_end from table(session(table bid partition by bidder, "
        "descriptor(`dateTime`), interval '10' second)) group by bidder, window_start, window_end",
    12: f"select bidder, count(*) as n, window_start, window_end from {TUMBLE % 'bid'} "
        "group by bidder, window_start, window_end",
    13: "select b.auction, b.bidder, b.price, b.`dateTime`, s.`value` from bid b join side s "
        "on mod(b.auction, 10000) = s.`key`",
    14: """select auction, bidder, 0.908 * price as price, case when hour(`dateTime`) >= 8 and hour(`dateTime`) <= 18
          then 'dayTime' when hour(`dateTime`) <= 6 or hour(`dateTime`) >= 20 then 'nightTime' else 'otherTime' end
          as bidTimeType, `dateTime`, extra, char_length(extra) - char_length(replace(extra, 'c', '')) as c_counts
          from bid where 0.908 * price > 1000000 and 0.908 * price < 50000000""",
    15: f"select {DAY} as `day`, {STATS} from bid group by {DAY}",
    16: f"select channel, {DAY} as `day`, max(date_format(`dateTime`, 'HH:mm')) as `minute`, {STATS} from bid "
        f"group by channel, {DAY}",
    17: f"""select auction, {DAY} as `day`, count(*) as total_bids, count(*) filter (where price < 10000) as r1,
          count(*) filter (where price >= 10000 and price < 1000000) as r2,
          count(*) filter (where price >= 1000000) as r3, min(price) as min_price, max(price) as max_price,
          avg(cast(price as double)) as avg_price, sum(price) as sum_price from bid group by auction, {DAY}""",
    18: """select auction, bidder, price, channel, url, `dateTime`, extra from (select *, row_number() over
          (partition by bidder, auction order by `dateTime` desc) as rank_number from bid) where rank_number <= 1""",
    19: "select * from (select *, row_number() over (partition by auction order by price desc) as rank_number "
        "from bid) where rank_number <= 10",
    20: """select b.auction, b.bidder, b.price, b.channel, b.url, b.`dateTime`, b.extra, a.itemName, a.description,
          a.initialBid, a.reserve, a.`dateTime` as adate, a.expires, a.seller, a.category, a.extra as aextra
          from bid as b inner join auction as a on b.auction = a.id where a.category = 10""",
    21: """select auction, bidder, price, channel, case when lower(channel) = 'apple' then '0'
          when lower(channel) = 'google' then '1' when lower(channel) = 'facebook' then '2'
          when lower(channel) = 'baidu' then '3' else regexp_extract(url, '(&|^)channel_id=([^&]*)', 2) end
          as channel_id from bid where regexp_extract(url, '(&|^)channel_id=([^&]*)', 2) is not null
          or lower(channel) in ('apple', 'google', 'facebook', 'baidu')""",
    22: "select auction, bidder, price, channel, split_index(url, '/', 3) as dir1, split_index(url, '/', 4) as dir2, "
        "split_index(url, '/', 5) as dir3 from bid",
}
