
-- Indexes and writes session records. put_only.lua or put_listing.lua stands before it.
-- KEYS: for each the record, the index, and whatever else KEYS_EACH counts. ARGV: key prefix, then for each the id, the record,
-- its life and that of the index in ms, `expected` and `create` of check.lua, and its own expiry in ms since the epoch ('' = none).
local key_prefix, now = ARGV[1], now_ms()

-- What another writer has put there first. The entry, if it is this put's, goes away again.
local function forestalled(record, index, id, expected, create, is_entered)
  if is_entered == 1 then redis.call('ZREM', index, id) end
  return refusal(redis.call('GET', record), expected, create, now)
end

return each(#KEYS / KEYS_EACH, function(n)
  local key, arg = (n - 1) * KEYS_EACH + 1, (n - 1) * 7 + 2
  local record, index, id, ttl = KEYS[key], KEYS[key + 1], ARGV[arg], ARGV[arg + 2]
  local expected, create = ARGV[arg + 4], ARGV[arg + 5]
  if must_fold(KEYS[key + 2]) then return 'FOLD' end
  -- As a rule nothing lies where nothing is expected: then SET itself may find out.
  local is_creation = expected == NOTHING and not refusal(false, expected, create, now)
  local current = false
  if not is_creation then
    current = redis.call('GET', record)
    local why = refusal(current, expected, create, now)
    if why then return why end
  end

  -- Index first, and in it first a command that a full memory refuses: then nothing has been written.
  local is_entered = index_call(key_prefix, 'ZADD', index, 'GT', score_of(now, ttl, ARGV[arg + 6]), id)
  local is_new = keep_for(index, ARGV[arg + 3])
  if not is_creation then
    redis.call('SET', record, ARGV[arg + 1], 'PX', ttl)
  elseif not redis.call('SET', record, ARGV[arg + 1], 'PX', ttl, 'NX') then
    return forestalled(record, index, id, expected, create, is_entered)
  end

  if current then return 'REPLACED' end
  if not is_new then drop_past(index, now) end
  return created(index, now)
end)
