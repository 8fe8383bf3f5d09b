-- Put before every script, after the constants TOMBSTONE, YOUNG_MS and INDEX_MARGIN_MS: the clock, and what touches an index.
-- A script costs what it calls, so each of these calls as little as it can.

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Numbers that reach a command as text must not become 1e+15.
local function digits(number)
  return string.format('%.0f', number)
end

-- The owner of the session record `value` of `id`; nil when it is no session record.
local function owner_of(id, value)
  if string.sub(value, 1, 1) ~= '{' then return nil end
  local ok, record = pcall(cjson.decode, value)
  if not ok or type(record) ~= 'table' then return nil end
  if type(record.session) == 'table' then record = record.session end
  if record.token ~= id then return nil end
  local user = record.userId
  if type(user) == 'number' then return digits(user) end
  if type(user) == 'string' and user ~= '' then return user end
  return nil
end

-- Lets the index live for another `ttl` and the margin; never shortens its life.
local function keep_index(index, ttl)
  ttl = ttl + INDEX_MARGIN_MS
  if redis.call('PTTL', index) < ttl then redis.call('PEXPIRE', index, digits(ttl)) end
end

-- Calls a sorted-set command on an index. One that the guide's own code left is a plain set: it is converted first.
local function index_call(key_prefix, command, index, ...)
  local reply = redis.pcall(command, index, ...)
  if type(reply) ~= 'table' or not reply.err then return reply end
  if redis.call('TYPE', index).ok == 'set' then
    local ids, now, furthest = redis.call('SMEMBERS', index), now_ms(), 0
    redis.call('DEL', index)
    for _, id in ipairs(ids) do
      local ttl = redis.call('PTTL', key_prefix .. id)
      if ttl > 0 then
        redis.call('ZADD', index, digits(now + ttl), id)
        furthest = math.max(furthest, ttl)
      end
    end
    if furthest > 0 then keep_index(index, furthest) end
  end
  return redis.call(command, index, ...)
end

local function unindex(key_prefix, index, ids)
  for first = 1, #ids, 1000 do
    index_call(key_prefix, 'ZREM', index, unpack(ids, first, math.min(first + 999, #ids)))
  end
end

-- The entries of the JSON list that other stores keep for a user; nil when there is none.
local function legacy_entries(legacy)
  local list = redis.call('GET', legacy)
  if not list or list == TOMBSTONE then return nil end
  local ok, entries = pcall(cjson.decode, list)
  if not ok or type(entries) ~= 'table' then return nil end
  local found = {}
  for _, entry in ipairs(entries) do
    if type(entry) == 'table' and type(entry.token) == 'string' and type(entry.expiresAt) == 'number' then
      found[#found + 1] = entry
    end
  end
  return found
end

-- Folds that list into the index.
local function fold(key_prefix, index, legacy)
  local entries = legacy_entries(legacy)
  if not entries then return end
  local furthest = 0
  for _, entry in ipairs(entries) do
    index_call(key_prefix, 'ZADD', index, 'GT', digits(entry.expiresAt), entry.token)
    furthest = math.max(furthest, entry.expiresAt)
  end
  if furthest > 0 then keep_index(index, furthest - now_ms()) end
  redis.call('DEL', legacy)
end
