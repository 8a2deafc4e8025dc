-- Points of sale with their leases, and the table of work, which is the journal.
--
-- What changes with every call has no index on it and leaves room in its page, so that each update is
-- heap-only (HOT): rows of `work` change twice, when they are claimed and when they are recorded.

CREATE TABLE tusfacturas.point (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE CHECK (name <> ''),
    fingerprint text UNIQUE,                  -- of its credentials: two names cannot halve the spacing
    last_position bigint NOT NULL DEFAULT 0,  -- of its newest row of work that was submitted
    swept_to bigint NOT NULL DEFAULT 0,       -- up to this position every row is final
    woken_at timestamptz,                     -- when a job was deferred that nobody has taken yet
    resume_at timestamptz,                    -- not before: its last run made no headway
    fruitless integer NOT NULL DEFAULT 0,     -- runs without headway, one after another
    epoch bigint NOT NULL DEFAULT 0,          -- the fence: raised by each taking of the lease
    holder text,
    taken_at timestamptz,
    expires_at timestamptz,                   -- NULL: given back
    cool_down_until timestamptz
) WITH (fillfactor = 30);

CREATE TABLE tusfacturas.work (
    point integer NOT NULL,                   -- point.id; points are never deleted
    reference text NOT NULL,
    lane text,                                -- as JSON; NULL asks for no order
    position bigint GENERATED ALWAYS AS IDENTITY,
    epoch bigint NOT NULL DEFAULT 0,          -- the lease under which it was claimed; 0: it waits, never claimed
    outcome text,                             -- NULL with an epoch: it is "sending"
    settled_by text,
    billed_calls integer NOT NULL DEFAULT 0,
    since timestamptz,                        -- the earliest event that can prove the sending
    error text,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (reference, point)            -- a webhook knows the reference alone
) WITH (fillfactor = 25);

CREATE INDEX work_in_order ON tusfacturas.work (point, position);

-- What one worker learns of the service, for all of them.
CREATE TABLE tusfacturas.service (
    alone boolean PRIMARY KEY DEFAULT true CHECK (alone),
    closed_until timestamptz,
    told text
);

INSERT INTO tusfacturas.service DEFAULT VALUES;
