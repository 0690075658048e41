"""What is known around a flight, as Feast entities, views and one service.

Instants are in UTC. Weather is pushed by the stream; routes and aircraft are written before it starts. Feast reads this
file by path, so it imports nothing of the package.
"""

from datetime import timedelta

from feast import Entity, FeatureService, FeatureView, Field, FileSource, PushSource, ValueType
from feast.types import Float64, Int64

origin = Entity(name="origin", join_keys=["origin"], value_type=ValueType.STRING, description="Airport of departure")
route = Entity(name="route", join_keys=["route"], value_type=ValueType.STRING, description="Such as EWR-IAH")
day = Entity(name="day", join_keys=["day"], value_type=ValueType.STRING, description="New York's date, YYYY-MM-DD")
aircraft = Entity(name="aircraft", join_keys=["tailnum"], value_type=ValueType.STRING, description="Tail number")

weather_source = PushSource(
    name="weather",
    batch_source=FileSource(name="weather_hours", path="data/weather.parquet", timestamp_field="at"),
)

origin_weather = FeatureView(
    name="origin_weather",
    entities=[origin],
    ttl=timedelta(hours=3),
    schema=[
        Field(name="temp", dtype=Float64, description="Degrees Fahrenheit"),
        Field(name="dewp", dtype=Float64, description="Dew point, degrees Fahrenheit"),
        Field(name="humid", dtype=Float64, description="Relative humidity, percent"),
        Field(name="wind_dir", dtype=Float64, description="Degrees"),
        Field(name="wind_speed", dtype=Float64, description="Miles per hour"),
        Field(name="wind_gust", dtype=Float64, description="Miles per hour"),
        Field(name="precip", dtype=Float64, description="Inches in the hour"),
        Field(name="pressure", dtype=Float64, description="Millibars at sea level"),
        Field(name="visib", dtype=Float64, description="Miles"),
    ],
    source=weather_source,
    description="The hour's weather at the airport of departure, known when the hour is over",
)

aircraft_register = FeatureView(
    name="aircraft_register",
    entities=[aircraft],
    ttl=timedelta(0),  # the register does not age
    schema=[
        Field(name="aircraft_year", dtype=Float64, description="Year of manufacture"),
        Field(name="seats", dtype=Int64),
        Field(name="engines", dtype=Int64),
    ],
    source=FileSource(name="register", path="data/aircraft.parquet", timestamp_field="at"),
    description="What flies",
)

route_history = FeatureView(
    name="route_history",
    entities=[route, day],
    ttl=timedelta(days=2),
    schema=[
        Field(name="route_flights", dtype=Int64, description="Arrivals on the route in the 28 days before the day"),
        Field(name="route_delay", dtype=Float64, description="Their mean arrival delay, minutes"),
        Field(name="route_late_share", dtype=Float64, description="Share of them over 15 minutes late"),
    ],
    source=FileSource(name="routes", path="data/routes.parquet", timestamp_field="at"),
    description="How the route has run, as of the start of the day in New York",
)

delay_v1 = FeatureService(
    name="delay_v1",
    features=[
        origin_weather[["temp", "humid", "wind_speed", "precip", "pressure", "visib"]],  # pyright: ignore[reportArgumentType]
        aircraft_register[["aircraft_year", "seats"]],  # pyright: ignore[reportArgumentType]
        route_history,
    ],
    description="What the delay model takes beyond the flight itself",
)
