-- The statements, by name. "Open" is what is not final: it is taken up again in the order of its lane.

-- name: adopt
-- A journal that is used without `submit`: rows come into being when they are first written.
INSERT INTO tusfacturas.work (point, reference)
SELECT * FROM unnest(%(points)s::integer[], %(references)s::text[])
ON CONFLICT DO NOTHING

-- name: claim
-- "sending", under the epoch and an unexpired lease; what is in doubt, for who looks it up first. What was billed
-- before is told, so that `record` can be repeated. A claim whose answer was lost is in doubt when it is repeated.
-- A row that is newer than what the caller has read is another one of the same reference: it was cancelled, and submitted
-- again, maybe in another order.
-- `since` goes by the host's wall clock as long as it has not heard the service's: no earlier than a minute ago here.
UPDATE tusfacturas.work AS w
SET epoch = a.epoch, claims = w.claims + 1, outcome = NULL, settled_by = NULL, error = NULL,
    since = greatest(a.since, clock_timestamp() - interval '1 minute'), updated_at = clock_timestamp()
FROM unnest(%(points)s::integer[], %(epochs)s::bigint[], %(references)s::text[], %(sinces)s::timestamptz[],
            %(doubtful)s::boolean[], %(newest)s::bigint[]) AS a (point, epoch, reference, since, doubtful, newest)
    JOIN tusfacturas.point AS p ON p.id = a.point AND p.epoch = a.epoch AND p.expires_at > clock_timestamp()
WHERE w.reference = a.reference AND w.point = a.point AND w.epoch <= a.epoch AND (a.newest IS NULL OR w.position <= a.newest)
    AND (w.outcome IN ('held', 'not_sent') OR (w.outcome IS NULL AND w.epoch = 0)
        OR (a.doubtful AND (w.outcome IS NULL OR w.outcome = 'unknown')))
RETURNING w.point, w.reference, w.billed_calls, w.claims

-- name: record
-- An outcome, of its own row's last claim or not at all; ACCEPTED is never lowered. A verdict on a row that was
-- not claimed (claim 0) stands below whoever has claimed it since.
UPDATE tusfacturas.work AS w
SET outcome = CASE WHEN w.outcome = 'accepted' THEN w.outcome ELSE a.outcome END,
    settled_by = CASE WHEN w.outcome = 'accepted' THEN w.settled_by ELSE a.settled_by END,
    error = CASE WHEN w.outcome = 'accepted' THEN w.error ELSE a.error END,
    billed_calls = greatest(w.billed_calls, a.billed_calls),
    updated_at = clock_timestamp()
FROM unnest(%(points)s::integer[], %(epochs)s::bigint[], %(claims)s::integer[], %(references)s::text[],
            %(outcomes)s::text[], %(settled_by)s::text[], %(errors)s::text[], %(billed_calls)s::integer[])
        AS a (point, epoch, claim, reference, outcome, settled_by, error, billed_calls)
WHERE w.reference = a.reference AND w.point = a.point
    AND CASE a.claim WHEN 0 THEN w.epoch < a.epoch OR w.outcome IS NOT NULL
        ELSE w.epoch = a.epoch AND w.claims = a.claim END
RETURNING w.point, w.reference, w.lane, w.epoch, w.outcome, w.settled_by, w.billed_calls, w.error, w.updated_at

-- name: rows
-- What is known of some references: those that wait and were never claimed are not known.
SELECT w.point, w.reference, w.lane, w.epoch, w.outcome, w.settled_by, w.billed_calls, w.error, w.updated_at,
    extract(epoch FROM clock_timestamp() - w.updated_at)::float AS age
FROM unnest(%(references)s::text[]) AS a (reference)
    JOIN tusfacturas.work AS w ON w.reference = a.reference AND w.point = %(point)s
WHERE w.epoch > 0 OR w.outcome IS NOT NULL

-- name: page
-- All rows of a point of sale, in the order in which they were submitted.
SELECT w.position, p.fingerprint, w.point, w.reference, w.lane, w.epoch, w.outcome, w.settled_by,
    w.billed_calls, w.error, w.updated_at
FROM tusfacturas.work AS w JOIN tusfacturas.point AS p ON p.id = w.point
WHERE w.point = %(point)s AND w.position > %(after)s
ORDER BY w.position LIMIT %(limit)s

-- name: open_page
SELECT w.position, w.reference, w.lane, (w.epoch > 0 AND w.outcome IS NULL) OR w.outcome = 'unknown' AS doubtful
FROM tusfacturas.work AS w
WHERE w.point = %(point)s AND w.position > %(after)s AND w.position <= %(newest)s
    AND (w.outcome IS NULL OR w.outcome IN ('held', 'not_sent', 'unknown'))
ORDER BY w.position LIMIT %(limit)s

-- name: doubtful_lanes
-- The lanes in which a request may still be worked on; NULL stands for the rows without one.
SELECT w.lane, min(extract(epoch FROM clock_timestamp() - w.updated_at)::float) FILTER (WHERE w.outcome = 'unknown')
FROM tusfacturas.work AS w
WHERE w.point = %(point)s AND w.position > %(after)s
    AND ((w.epoch > 0 AND w.outcome IS NULL) OR w.outcome = 'unknown')
GROUP BY w.lane

-- name: summary
SELECT coalesce(w.outcome, CASE WHEN w.epoch = 0 THEN 'waiting' ELSE 'sending' END), count(*),
    sum(w.billed_calls)
FROM tusfacturas.work AS w
WHERE %(point)s::integer IS NULL OR w.point = %(point)s
GROUP BY 1 ORDER BY 1

-- name: settle
-- A confirmation settles the row in doubt of its reference, wherever it is being sent; not one whose reference two
-- points of sale have, as it may be the other's, nor a sending that began after the event.
WITH found AS (
    SELECT w.point FROM tusfacturas.work AS w
    WHERE w.reference = %(reference)s
        AND (%(name)s::text IS NULL OR w.point = (SELECT id FROM tusfacturas.point WHERE name = %(name)s))
)
UPDATE tusfacturas.work AS w
SET outcome = 'accepted', settled_by = 'webhook', error = NULL, updated_at = clock_timestamp()
FROM found
WHERE w.reference = %(reference)s AND w.point = found.point AND (SELECT count(*) FROM found) = 1
    AND ((w.epoch > 0 AND w.outcome IS NULL) OR w.outcome = 'unknown')
    AND w.since <= %(created_at)s::timestamptz
RETURNING w.point

-- name: know
-- The number of a point of sale, made when it is first named. It locks the row: positions are given in order.
INSERT INTO tusfacturas.point (name) VALUES (%(name)s)
ON CONFLICT (name) DO UPDATE SET name = excluded.name
RETURNING id

-- name: find_point
SELECT id FROM tusfacturas.point WHERE name = %(name)s

-- name: staging
CREATE TEMPORARY TABLE IF NOT EXISTS tusfacturas_staging (
    number integer, reference text, lane text
) ON COMMIT DELETE ROWS

-- name: stage
COPY pg_temp.tusfacturas_staging (number, reference, lane) FROM STDIN

-- name: take_in
-- Twice is once. The caller holds the point's row, so nobody else gives positions of it meanwhile.
WITH taken AS (
    INSERT INTO tusfacturas.work (point, reference, lane)
    SELECT %(point)s, reference, lane FROM pg_temp.tusfacturas_staging ORDER BY number
    ON CONFLICT DO NOTHING
    RETURNING position
), newest AS (
    UPDATE tusfacturas.point
    SET last_position = (SELECT max(position) FROM taken), resume_at = NULL, woken_at = clock_timestamp()
    WHERE id = %(point)s AND EXISTS (SELECT FROM taken)
)
SELECT count(*) FROM taken

-- name: cancel
-- What was never sent goes; what may have arrived stays until it is settled.
WITH gone AS (
    DELETE FROM tusfacturas.work AS w
    WHERE w.point = (SELECT id FROM tusfacturas.point WHERE name = %(name)s)
        AND ((w.outcome IS NULL AND w.epoch = 0) OR w.outcome IN ('held', 'not_sent'))
    RETURNING 1
)
SELECT count(*) FROM gone

-- name: take
-- Raises the fence. Nobody holds the lease: it was given back, or has expired. Microseconds: a fail-over may lose the
-- last taking, and the next must not be taken for it.
UPDATE tusfacturas.point
SET epoch = greatest(epoch + 1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint), holder = %(holder)s, taken_at = clock_timestamp(), woken_at = NULL,
    expires_at = clock_timestamp() + make_interval(secs => %(seconds)s),
    fingerprint = coalesce(%(fingerprint)s, fingerprint)
WHERE name = %(name)s
    AND (expires_at IS NULL OR expires_at < clock_timestamp() OR holder = %(holder)s)  -- its answer was lost
RETURNING id, epoch, extract(epoch FROM cool_down_until - clock_timestamp())::float

-- name: bind
UPDATE tusfacturas.point SET fingerprint = %(fingerprint)s
WHERE id = %(point)s AND epoch = %(epoch)s AND fingerprint IS DISTINCT FROM %(fingerprint)s

-- name: renew
-- All leases of one process. A lease that has expired and that nobody took is still its holder's.
UPDATE tusfacturas.point AS p
SET expires_at = clock_timestamp() + make_interval(secs => %(seconds)s),
    cool_down_until = CASE WHEN a.cooling > 0
        THEN greatest(p.cool_down_until, clock_timestamp() + make_interval(secs => a.cooling))
        ELSE p.cool_down_until END
FROM unnest(%(points)s::integer[], %(epochs)s::bigint[], %(cooling)s::float[]) AS a (point, epoch, cooling)
WHERE p.id = a.point AND p.epoch = a.epoch AND p.expires_at IS NOT NULL
RETURNING p.id

-- name: held
SELECT id FROM tusfacturas.point WHERE id = %(point)s AND epoch = %(epoch)s AND expires_at > clock_timestamp()

-- name: give_back
UPDATE tusfacturas.point
SET expires_at = NULL, holder = NULL, cool_down_until = CASE WHEN %(cooling)s::float > 0
    THEN greatest(cool_down_until, clock_timestamp() + make_interval(secs => %(cooling)s::float)) ELSE cool_down_until END
WHERE id = %(point)s AND epoch = %(epoch)s

-- name: swept
SELECT swept_to, last_position,
    coalesce((SELECT max(position) FROM tusfacturas.work WHERE point = %(point)s), 0)
FROM tusfacturas.point WHERE id = %(point)s

-- name: sweep
-- At the end of a run, under its lease. `last_position` was read before, so every row up to it is visible here.
WITH left_open AS (
    SELECT w.position FROM tusfacturas.work AS w JOIN tusfacturas.point AS p ON p.id = w.point
    WHERE w.point = %(point)s AND w.position > p.swept_to AND w.position <= %(last_position)s
        AND (w.outcome IS NULL OR w.outcome IN ('held', 'not_sent', 'unknown'))
    ORDER BY w.position LIMIT 1
)
UPDATE tusfacturas.point AS p
SET swept_to = coalesce((SELECT position - 1 FROM left_open), greatest(p.swept_to, %(last_position)s)),
    fruitless = CASE WHEN %(headway)s THEN 0 ELSE p.fruitless + 1 END, trouble = %(trouble)s,
    resume_at = CASE WHEN %(pause)s AND p.last_position <= %(last_position)s AND EXISTS (SELECT FROM left_open) THEN clock_timestamp() + make_interval(
        secs => least(%(longest)s, %(shortest)s * 2.0 ^ CASE WHEN %(headway)s THEN 0 ELSE least(p.fruitless, 20) END)
    ) END
WHERE p.id = %(point)s AND p.epoch = %(epoch)s
RETURNING EXISTS (SELECT FROM left_open), p.last_position > %(last_position)s

-- name: put_off
-- Its job failed outside of a run: not again every ten seconds. Another worker may have taken it meanwhile.
UPDATE tusfacturas.point
SET trouble = %(trouble)s, fruitless = fruitless + 1, woken_at = NULL,
    resume_at = clock_timestamp() + make_interval(secs => least(%(longest)s, %(shortest)s * 2.0 ^ least(fruitless, 20)))
WHERE name = %(name)s AND (expires_at IS NULL OR expires_at < clock_timestamp())

-- name: troubles
-- Who is being worked on has none, for all that anybody knows.
SELECT name, trouble FROM tusfacturas.point
WHERE trouble IS NOT NULL AND (expires_at IS NULL OR expires_at < clock_timestamp())
    AND (%(point)s::integer IS NULL OR id = %(point)s)
ORDER BY name

-- name: idle
-- Points of sale with open rows and no lease, whose job was lost or is due: each is told once in ten seconds at most.
UPDATE tusfacturas.point AS p SET woken_at = clock_timestamp()
FROM (
    SELECT id FROM tusfacturas.point
    WHERE last_position > swept_to
        AND (expires_at IS NULL OR expires_at < clock_timestamp())
        AND (resume_at IS NULL OR resume_at <= clock_timestamp())
        AND (woken_at IS NULL OR woken_at < clock_timestamp() - interval '10 seconds')
        AND NOT EXISTS (SELECT FROM tusfacturas.service WHERE closed_until > clock_timestamp())
    ORDER BY woken_at NULLS FIRST LIMIT %(limit)s FOR UPDATE SKIP LOCKED
) AS due
WHERE p.id = due.id
RETURNING p.name

-- name: close_service
-- Maintenance is told once, to all; it may end before its time, and a time that has passed is as good as none.
UPDATE tusfacturas.service
SET closed_until = greatest(closed_until, clock_timestamp() + make_interval(secs => least(
        coalesce(nullif(greatest(extract(epoch FROM %(until)s::timestamptz - clock_timestamp()), 0), 0), %(untold)s),
        %(longest)s
    )::float)), told = %(told)s

-- name: closed
SELECT told, extract(epoch FROM closed_until - clock_timestamp())::float FROM tusfacturas.service
WHERE closed_until > clock_timestamp()

-- name: lately_closed
SELECT told FROM tusfacturas.service WHERE closed_until > clock_timestamp() - make_interval(secs => %(seconds)s)

-- name: notify
SELECT pg_notify(%(channel)s, %(payload)s)

-- name: keep_event
-- One at a time: numbers are given in the order of the commits, so who has read one has not missed a lower one.
WITH alone AS MATERIALIZED (SELECT pg_advisory_xact_lock(hashtextextended('tusfacturas.event', 0)))
INSERT INTO tusfacturas.event (meaning, external_reference, rank, created_at, payload)
SELECT %(meaning)s, %(reference)s, %(rank)s, %(created_at)s, %(payload)s FROM alone
ON CONFLICT DO NOTHING RETURNING id

-- name: events_after
SELECT id, payload FROM tusfacturas.event WHERE id > %(after)s ORDER BY id LIMIT 500

-- name: last_event
-- Of those that are so many seconds old.
SELECT coalesce((
    SELECT id FROM tusfacturas.event WHERE received_at < clock_timestamp() - make_interval(secs => %(age)s)
    ORDER BY id DESC LIMIT 1
), 0)

-- name: state
SELECT payload FROM tusfacturas.event WHERE external_reference = %(reference)s AND rank > 0
ORDER BY rank = 5 DESC, created_at DESC NULLS LAST, rank DESC, id DESC LIMIT 1

-- name: states
SELECT DISTINCT external_reference FROM tusfacturas.event
WHERE external_reference > %(after)s AND rank > 0 ORDER BY external_reference LIMIT 500

-- name: jobs_version
SELECT jobs FROM tusfacturas.version

-- name: jobs_migrated
UPDATE tusfacturas.version SET jobs = %(version)s
