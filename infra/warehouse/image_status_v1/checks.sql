-- Each query selects the rows that break its rule; a check without rows has passed.

-- #fail kind_known: the kind is one of the closed set
SELECT image_id, kind, code
FROM {{ table }}
WHERE kind NOT IN ('scene', 'product');

-- #fail code_known: the code is one of the closed set
-- The set is tfrecords_schema.codes.ImageCode; a test compares the two.
SELECT image_id, kind, code
FROM {{ table }}
WHERE code NOT IN (
  'ok',
  'bad_url',
  'address_refused',
  'robots_disallowed',
  'dns_failed',
  'connection_failed',
  'connection_reset',
  'tls_failed',
  'timed_out',
  'not_found',
  'gone',
  'forbidden',
  'rate_limited',
  'server_error',
  'http_error',
  'bad_redirect',
  'too_many_redirects',
  'circuit_open',
  'too_many_bytes',
  'body_incomplete',
  'bad_encoding',
  'decompression_bomb',
  'not_an_image',
  'truncated',
  'too_small',
  'too_many_pixels',
  'animated',
  'cmyk',
  'exif_rotated',
  'decoder_failed',
  'placeholder'
);

-- #fail ok_has_sha256: a picture that was fetched has its identity
SELECT image_id, kind, code, sha256
FROM {{ table }}
WHERE code = 'ok' AND COALESCE(sha256, '') = '';

-- #warn success_rate: at least 90 % of the pictures of each kind were fetched
SELECT kind, COUNTIF(code = 'ok') AS fetched, COUNT(*) AS images
FROM {{ table }}
GROUP BY kind
HAVING COUNTIF(code = 'ok') < 0.9 * COUNT(*);
