-- Indexes a record that another store wrote, if it still lies there as it was read.
--
-- KEYS[1]  index
-- KEYS[2]  record
--
-- ARGV[1]  id
-- ARGV[2]  found          the record as it was read
-- ARGV[3]  indexed        the record as it is to be stored
-- ARGV[4]  key_prefix

--- @include "clock"
--- @include "digits"
--- @include "index_call"
--- @include "index_life"

local index, record = KEYS[1], KEYS[2]
local id, found, indexed, key_prefix = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

if redis.call('GET', record) ~= found then return 0 end
local ttl = redis.call('PTTL', record)
if ttl <= 0 then return 0 end
index_call(key_prefix, 'ZADD', index, 'GT', digits(now_ms() + ttl), id)
keep_index(index, ttl)
redis.call('SET', record, indexed, 'PX', ttl)
return 1
