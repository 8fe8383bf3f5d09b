
-- Answers the user's ids, for the limit. An id whose time is past is dead, even if it stays in the index for the margin.
fold(key_prefix, index, KEYS[3])
return { 'CREATED', redis.call('ZRANGEBYSCORE', index, '(' .. digits(now), '+inf') }
