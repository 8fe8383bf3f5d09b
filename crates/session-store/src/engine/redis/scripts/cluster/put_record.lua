
-- Writes a session record that its owner's index has already.
redis.call('SET', record, ARGV[2], 'PX', ARGV[3])
return { current and 'REPLACED' or 'CREATED' }
