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
