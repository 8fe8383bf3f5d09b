--- @include "clock"
--- @include "drop_past_entries"
--- @include "each"
--- @include "index_call"
--- @include "index_life"
--- @include "score"
--- @include "write_refusal"

-- Indexes and writes the session records of several callers, by KEYS and ARGV of the script (see
-- standalone/put.lua). Returns the answer to each: 'REPLACED', what `created` returns, 'FOLD', or
-- why it may not be written (write_refusal.lua).
--
-- `keys_each`: how many keys each caller has: the record, the index, and others.
-- `must_fold`: whether the third key has to be folded into the index first.
-- `created`: the answer to a creation, by the index and the time.
local function put_records(keys_each, must_fold, created)
  local key_prefix, now = ARGV[1], now_ms()

  -- Why it may not be written, where another writer came between. If the entry is this put's, it is
  -- removed again.
  local function undo_entry(record, index, id, expected, create, is_entered)
    if is_entered == 1 then redis.call('ZREM', index, id) end
    return write_refusal(redis.call('GET', record), expected, create, now)
  end

  return each(#KEYS / keys_each, function(n)
    local key, arg = (n - 1) * keys_each + 1, (n - 1) * 7 + 2
    local record, index, id, ttl = KEYS[key], KEYS[key + 1], ARGV[arg], ARGV[arg + 2]
    local expected, create = ARGV[arg + 4], ARGV[arg + 5]
    if must_fold(KEYS[key + 2]) then return 'FOLD' end
    -- As a rule nothing lies where nothing is expected: then SET itself may find out.
    local is_creation = expected == NOTHING and not write_refusal(false, expected, create, now)
    local current = false
    if not is_creation then
      current = redis.call('GET', record)
      local refusal = write_refusal(current, expected, create, now)
      if refusal then return refusal end
    end

    -- Index first, and in it first a command that a full memory refuses: then nothing has been
    -- written.
    local is_entered = index_call(key_prefix, 'ZADD', index, 'GT', score_of(now, ttl, ARGV[arg + 6]), id)
    local is_new = keep_index_for(index, ARGV[arg + 3])
    if not is_creation then
      redis.call('SET', record, ARGV[arg + 1], 'PX', ttl)
    elseif not redis.call('SET', record, ARGV[arg + 1], 'PX', ttl, 'NX') then
      return undo_entry(record, index, id, expected, create, is_entered)
    end

    if current then return 'REPLACED' end
    if not is_new then drop_past_entries(index, now) end
    return created(index, now)
  end)
end
