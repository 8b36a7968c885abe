"""The perceptual hash of each picture."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = '0003'
down_revision = '0002'
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the change."""
    op.add_column('images', sa.Column('pdq', sa.Text(), nullable=True))
