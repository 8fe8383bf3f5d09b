-- Indexes a record that another store wrote, if it still lies there as it was read.
-- KEYS: index, record. ARGV: id, the record as found, as it is to be stored, key prefix.
local index, record = KEYS[1], KEYS[2]
local id, found, indexed, key_prefix = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

if redis.call('GET', record) ~= found then return 0 end
local ttl = redis.call('PTTL', record)
if ttl <= 0 then return 0 end
index_call(key_prefix, 'ZADD', index, 'GT', digits(now_ms() + ttl), id)
keep_index(index, ttl)
redis.call('SET', record, indexed, 'PX', ttl)
return 1
