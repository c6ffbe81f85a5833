"""Doors for projects: themselves, their people, places, companies and days."""

from buildpeer.modules.projects.http.companies import CompaniesController, ProjectCompaniesController, TradesController
from buildpeer.modules.projects.http.days import CalendarController
from buildpeer.modules.projects.http.members import PeopleImportsController, ProjectMembersController
from buildpeer.modules.projects.http.places import LocationsController
from buildpeer.modules.projects.http.projects import BudgetController, ProjectsController

CONTROLLERS = (
    ProjectsController,
    BudgetController,
    ProjectMembersController,
    PeopleImportsController,
    LocationsController,
    TradesController,
    CompaniesController,
    ProjectCompaniesController,
    CalendarController,
)
