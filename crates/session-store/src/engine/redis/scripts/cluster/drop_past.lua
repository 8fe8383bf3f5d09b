-- Drops the entries of an index whose time is past by the margin; answers how many. KEYS: index.
return redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. digits(now_ms() - INDEX_MARGIN_MS))
