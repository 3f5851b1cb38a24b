-- What the demo's database holds: all flights that left New York City in 2013 and what they refer to.
-- "incoming" has the files as they are; "public" is what an airline's system would keep.

CREATE SCHEMA incoming;

CREATE UNLOGGED TABLE incoming.flights (
    year int, month int, day int, dep_time int, sched_dep_time int, dep_delay int, arr_time int,
    sched_arr_time int, arr_delay int, carrier text, flight int, tailnum text, origin text, dest text,
    air_time int, distance int, hour int, minute int, time_hour timestamptz
);
CREATE UNLOGGED TABLE incoming.weather (
    origin text, year int, month int, day int, hour int, temp numeric(6, 2), dewp numeric(6, 2),
    humid numeric(6, 2), wind_dir int, wind_speed double precision, wind_gust double precision,
    precip numeric(5, 2), pressure numeric(6, 1), visib numeric(5, 2), time_hour timestamptz
);

-- recorded_at is the cursor: when the row was entered, to the microsecond.
CREATE TABLE flights (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    recorded_at timestamptz NOT NULL,
    scheduled_at timestamptz NOT NULL,
    carrier varchar(2) NOT NULL,
    flight int NOT NULL,
    tailnum text,
    origin char(3) NOT NULL,
    dest char(3) NOT NULL,
    departed int,
    departure_delay int,
    arrived int,
    arrival_delay int,
    minutes_in_air int,
    distance int NOT NULL,
    cancelled boolean NOT NULL
);
CREATE TABLE weather (
    recorded_at timestamptz NOT NULL,
    origin char(3) NOT NULL,
    observed_on date NOT NULL,
    observed_at timestamptz NOT NULL,
    temperature numeric(6, 2),
    dew_point numeric(6, 2),
    humidity numeric(6, 2),
    wind_direction int,
    wind_speed double precision,
    wind_gust double precision,
    precipitation numeric(5, 2),
    pressure numeric(6, 1),
    visibility numeric(5, 2)
);
CREATE TABLE airlines (carrier varchar(2) PRIMARY KEY, name text NOT NULL);
CREATE TABLE airports (
    faa text PRIMARY KEY, name text NOT NULL, lat double precision, lon double precision, alt int,
    tz int, dst text, tzone text
);
CREATE TABLE planes (
    tailnum text PRIMARY KEY, year int, type text, manufacturer text, model text, engines int, seats int,
    speed int, engine text
);
