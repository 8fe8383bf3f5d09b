
-- Indexes and writes session records. put_only.lua or put_listing.lua stands before it.
-- KEYS: for each the record, the index, and whatever else KEYS_EACH counts. ARGV: key prefix, then for each the id, the record,
-- its life in ms, and `expected` and `create` of check.lua.
local key_prefix, now = ARGV[1], now_ms()

return each(#KEYS / KEYS_EACH, function(n)
  local key, arg = (n - 1) * KEYS_EACH + 1, (n - 1) * 5 + 2
  local record, index, id, ttl = KEYS[key], KEYS[key + 1], ARGV[arg], tonumber(ARGV[arg + 2])
  local current = redis.call('GET', record)
  local why = refusal(current, ARGV[arg + 3], ARGV[arg + 4], now)
  if why then return why end

  -- Index first, and in it first a command that a full memory refuses: then nothing has been written.
  index_call(key_prefix, 'ZADD', index, 'GT', digits(now + ttl), id)
  local is_new = keep_index(index, ttl)
  redis.call('SET', record, ARGV[arg + 1], 'PX', ARGV[arg + 2])

  if current then return { 'REPLACED' } end
  if not is_new then redis.call('ZREMRANGEBYSCORE', index, '-inf', '(' .. digits(now - INDEX_MARGIN_MS)) end
  return created(key_prefix, index, KEYS[key + 2], now)
end)
