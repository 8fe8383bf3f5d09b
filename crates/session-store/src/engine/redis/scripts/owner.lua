-- The owner of a record that this store wrote, if its text tells without being decoded: there is one "userId" in it.
local function plain_owner(id, value)
  if string.sub(value, -1) ~= ' ' or not string.find(value, '"token":"' .. id .. '"', 1, true) then return nil end
  local _, at = string.find(value, '"userId"', 1, true)
  if not at or string.find(value, '"userId"', at, true) then return nil end
  return string.match(value, '^%s*:%s*"([^"\\]+)"', at + 1)
end

-- The owner of the session record `value` of `id`; nil when it is no session record.
local function owner_of(id, value)
  if not string.find(value, '^%s*{') or not string.find(value, id, 1, true) then return nil end
  local plain = plain_owner(id, value)
  if plain then return plain end
  local ok, record = pcall(cjson.decode, value)
  if not ok then
    -- JSON that this decoder cannot read, but this store has (half of a surrogate pair, deep nesting): it ends in a space.
    if string.sub(value, -1) ~= ' ' then return nil end
    if not string.find(value, '"token"%s*:%s*"' .. string.gsub(id, '%W', '%%%0') .. '"') then return nil end
    return string.match(value, '"userId"%s*:%s*"([^"\\]+)"')
  end
  if type(record) ~= 'table' then return nil end
  if type(record.session) == 'table' and record.session.token == id then record = record.session end
  if record.token ~= id then return nil end
  local user = record.userId
  if type(user) == 'number' then return digits(user) end
  if type(user) == 'string' and user ~= '' then return user end
  return nil
end
